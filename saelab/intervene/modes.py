"""The ways to steer: what becomes of a feature, out of what it is, the strength s, and its maximum.

    add          f' = f + s max          as much on top everywhere
    clamp        f' = s max              the same strength everywhere
    scale        f' = s f                only where it fires
    orthogonal   p' = s max              whatever stood along the direction is replaced
    cap          p' = min(p, s max)      only what stands out further along the direction is cut

f is the feature's activation, p = <x, W_dec[i]> / |W_dec[i]|^2 how far x itself reaches along its direction, the
reconstruction error and the mean of all rows included. max is the largest activation of the feature in its index:
strength 1 is as strong as text ever made it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mode:
    """One of them. `new` takes what there is, the strength and the maximum, and gives what there is to be."""

    equation: str
    new: Callable[[Tensor, Tensor, Tensor], Tensor]
    projected: bool = False  # of p instead of f
    in_maxima: bool = True  # the strength counts in maxima


MODES: dict[str, Mode] = {
    "add": Mode("f' = f + s max", lambda f, s, top: f + s * top),
    "scale": Mode("f' = s f", lambda f, s, top: s * f, in_maxima=False),
    "clamp": Mode("f' = s max", lambda f, s, top: (s * top).expand_as(f)),
    "orthogonal": Mode("p' = s max", lambda p, s, top: (s * top).expand_as(p), projected=True),
    "cap": Mode("p' = min(p, s max)", lambda p, s, top: torch.minimum(p, s * top), projected=True),
}
