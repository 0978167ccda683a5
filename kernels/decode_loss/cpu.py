"""In PyTorch ops: one segmented sum for the reproduction, one pass of sampled dot products."""

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.kernels.csc import Pattern
from saelab.kernels.csc.cpu import bag


@torch.no_grad()
def decode_loss(
    values: Float[Tensor, "nz"],
    pattern: Pattern,
    W_dec: Float[Tensor, "d_sae d"],
    bias: Float[Tensor, "d"],
    y: Float[Tensor, "batch d"],
    scale: float,
) -> tuple[Float[Tensor, ""], Float[Tensor, "batch d"], Float[Tensor, "nz"]]:
    """(loss, d loss / d x_hat, d loss / d values)."""
    minus_r = bag(pattern.index, pattern.offsets, W_dec, values).add_(bias).sub_(y)
    loss = scale * minus_r.flatten().dot(minus_r.flatten())
    error = minus_r.mul_(2 * scale)
    return loss, error, pattern.dots(error, W_dec)
