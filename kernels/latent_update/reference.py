"""The definition: the whole gradient, then the equations line by line."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.kernels.deferred import Part
from saelab.kernels.latent_update.adam import AdamStep


@torch.no_grad()
def latent_update(
    W: Float[Tensor, "n d"],
    m: Float[Tensor, "n d"],
    v: Float[Tensor, "n d"],
    gradient: Sequence[Part],
    adam: AdamStep,
    unit: bool,
) -> None:
    """Change W, m and v in place."""
    g = torch.zeros_like(W)
    for part in gradient:
        g += part.whole(len(W))
    if unit:
        g = g - (g * W).sum(dim=1, keepdim=True) * W
    m.mul_(adam.beta1).add_((1 - adam.beta1) * g)
    v.mul_(adam.beta2).add_((1 - adam.beta2) * g * g)
    mean, square = m / (1 - adam.beta1**adam.number), v / (1 - adam.beta2**adam.number)
    W.sub_(adam.lr * mean / (square.sqrt() + adam.eps))
    if unit:
        W.div_(W.norm(dim=1, keepdim=True))
