"""What several variants share: unit rows to begin with, the cheap centre, warm-up, and folding."""

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from saelab.kernels.csc import Pattern

DENSE_FROM = 0.1  # share of active entries from which dense matrices are faster than sparse ones on a CPU


@runtime_checkable
class Normalisation(Protocol):
    """How rows were brought to training units: x' = (x - centre) scale, and the same for what is reproduced."""

    centre: Tensor
    scale: float
    target_centre: Tensor
    target_scale: float


def unit_rows(W: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """W with every row divided by its length."""
    return W / torch.linalg.vector_norm(W, dim=1, keepdim=True)


def centred_linear(
    x: Float[Tensor, "batch d_in"],
    centre: Float[Tensor, "d_in"] | None,
    W: Float[Tensor, "d_in d_sae"],
    b: Float[Tensor, "d_sae"],
) -> Float[Tensor, "batch d_sae"]:
    """(x - centre) W + b.

    When only `centre` and not x needs a gradient, it reaches it through a term that is zero, as a product of a vector
    with W; left to itself autograd would form the gradient of every row of x only to add them up.
    """
    if centre is None:
        return torch.addmm(b, x, W)
    if x.requires_grad:
        return torch.addmm(b, x - centre, W)
    zero = (centre.detach() - centre) @ W.detach()
    return torch.addmm(b + zero, (x - centre).detach(), W)


@torch.no_grad()
def is_dense(
    x: Float[Tensor, "batch d_in"],
    W: Float[Tensor, "d_in d_sae"],
    b: Float[Tensor, "d_sae"],
    centre: Float[Tensor, "d_in"] | None,
    threshold: Float[Tensor, "d_sae"] | float,
) -> bool:
    """Whether so many features of 32 rows are above `threshold` that the dense path is the faster one."""
    sample = x[:: max(1, len(x) // 32)]
    return (centred_linear(sample.to(W.dtype), centre, W, b) > threshold).float().mean().item() > DENSE_FROM


def warm_up(step: int, total: int | None, share: float) -> float:
    """From 0 at the first step to 1 after `share` of all steps; 1 throughout when their number is not known."""
    steps = share * total if total else 0.0
    return min(1.0, step / steps) if steps else 1.0


def at_entries(per_feature: Float[Tensor, "d_sae"], pattern: Pattern) -> Float[Tensor, "nz"]:
    """The number of each entry's feature, differentiable. Its gradient is summed in the same order every time.

    What indexing's own backward adds up depends, above 32,768 entries, on how the threads came along.
    """
    found: Tensor = _AtEntries.apply(per_feature, pattern)
    return found


class _AtEntries(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, per_feature: Tensor, pattern: Pattern) -> Tensor:
        ctx.pattern = pattern
        return per_feature.index_select(0, pattern.index)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.pattern.csc.by_feature(gradient.contiguous()), None
