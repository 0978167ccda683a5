"""AuxK: how badly the dead features explain what the living ones left over, and the gradient that revives them.

    e     = residual_scale * error                                               [batch, d_out], no gradient
    f     = TopK_k(ReLU((x - centre) W_enc[:, dead] + b_enc[dead]))              all of them where there are k or fewer
    e_hat = f W_dec[dead]
    loss  = sum |e - e_hat|^2 / sum |e - mean(e)|^2                              0 when the residual does not vary

e holds no b_dec, so neither does e_hat. Only dead features get a gradient, in encoder and decoder: sparsify's fused
encoder loses the former. They are gathered and multiplied densely, since k (half of d_in) is far too many for the
sparse path, and their gradients stay rows of the dead features alone (kernels/deferred.py).

With r = e_hat - e and c = 2 upstream / sum |e - mean(e)|^2:

    g = c (r W_dec[dead]^T) where f > 0          d W_dec[dead] = c f^T r
    d b_enc[dead] = sum of g over the rows       d W_enc[:, dead] = (x - centre)^T g

Gao et al. 2024, "Scaling and evaluating sparse autoencoders", appendix A.2.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from saelab.kernels.auxk import cpu, reference
from saelab.kernels.backend import backend


def auxk_loss(
    x: Float[Tensor, "batch d_in"],
    centre: Float[Tensor, "d_in"] | None,
    error: Float[Tensor, "batch d_out"],
    residual_scale: float,
    W_enc: Float[Tensor, "d_in d_sae"],
    b_enc: Float[Tensor, "d_sae"],
    W_dec: Float[Tensor, "d_sae d_out"],
    dead: Bool[Tensor, "d_sae"],
    k: int,
) -> Float[Tensor, ""]:
    """See the module. Differentiable in W_enc, b_enc and W_dec, at dead features only. Without a centre, x as it is."""
    index = dead.nonzero().squeeze(1)
    centre = torch.zeros_like(x[0]) if centre is None else centre.detach()
    if backend(x) == "reference":
        return reference.auxk_loss(x - centre, residual_scale * error, W_enc, b_enc, W_dec, index, k)
    return cpu.AuxK.apply(W_enc.t(), b_enc, W_dec, x, centre, error.detach(), residual_scale, index, k)
