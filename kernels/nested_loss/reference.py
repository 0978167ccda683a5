"""The definition: every code as a dense matrix of its own, and autograd."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saelab.kernels.csc import Pattern


def nested_loss(
    values: Float[Tensor, "nz"],
    pattern: Pattern,
    level: Int[Tensor, "nz"],
    weights: Float[Tensor, "M"],
    W_dec: Float[Tensor, "d_sae d"],
    bias: Float[Tensor, "d"],
    y: Float[Tensor, "batch d"],
    scale: float,
) -> tuple[Float[Tensor, ""], Float[Tensor, "M"], Float[Tensor, "batch M d"], Float[Tensor, "nz"]]:
    """(loss, loss of each code, d loss / d what each level adds, d loss / d values)."""
    with torch.enable_grad():
        values = values.detach().requires_grad_()
        zeros = values.new_zeros(pattern.n_rows, pattern.n)
        codes = [
            zeros.index_put((pattern.row, pattern.index), values.where(level <= m, 0)) for m in range(len(weights))
        ]
        x_hats = [f @ W_dec.detach() + bias.detach() for f in codes]
        losses = torch.stack([scale * (y.detach() - x_hat).pow(2).sum() for x_hat in x_hats])
        loss = weights.detach() @ losses
        *d_x_hats, d_values = torch.autograd.grad(loss, (*x_hats, values))
    error = torch.stack(d_x_hats, dim=1).flip(1).cumsum(1).flip(1)  # what a level adds is in all codes from it on
    return loss.detach(), losses.detach(), error, d_values
