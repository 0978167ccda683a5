"""The definition: the whole code as a dense matrix, and autograd."""

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.kernels.csc import Pattern


def decode_loss(
    values: Float[Tensor, "nz"],
    pattern: Pattern,
    W_dec: Float[Tensor, "d_sae d"],
    bias: Float[Tensor, "d"],
    y: Float[Tensor, "batch d"],
    scale: float,
) -> tuple[Float[Tensor, ""], Float[Tensor, "batch d"], Float[Tensor, "nz"]]:
    """(loss, d loss / d x_hat, d loss / d values)."""
    with torch.enable_grad():
        values = values.detach().requires_grad_()
        f = values.new_zeros(pattern.n_rows, pattern.n).index_put((pattern.row, pattern.index), values)
        x_hat = f @ W_dec.detach() + bias.detach()
        loss = scale * (y.detach() - x_hat).pow(2).sum()
        error, d_values = torch.autograd.grad(loss, (x_hat, values))
    return loss.detach(), error, d_values
