"""In PyTorch ops: one segmented sum for what every level of every row adds, one pass of sampled dot products.

A cell (walk.py) is a bag of the sum and a row of the sampled product, so that both run once however many codes there
are; between them stand running sums along the levels, over batch x M x d numbers.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saelab.kernels.csc import Pattern
from saelab.kernels.csc.cpu import bag, sampled_dot
from saelab.kernels.nested_loss.walk import Walk


@torch.no_grad()
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
    M = len(weights)
    walk = Walk.of(pattern, level, M)
    minus_r = bag(walk.index, walk.bounds, W_dec, walk.into(values)).unflatten(0, (len(y), M))  # [batch, M, d]
    minus_r[:, 0].add_(bias).sub_(y)
    for m in range(1, M):
        minus_r[:, m] += minus_r[:, m - 1]
    losses = scale * torch.stack([_squared(minus_r[:, m].flatten()) for m in range(M)])
    error = minus_r.mul_((2 * scale * weights).unsqueeze(1))
    for m in reversed(range(M - 1)):
        error[:, m] += error[:, m + 1]
    dots = sampled_dot(error.flatten(0, 1), W_dec, walk.index, walk.bounds)
    return weights @ losses, losses, error, walk.back(dots)


def _squared(v: Float[Tensor, "n"]) -> Float[Tensor, ""]:
    return v.dot(v)
