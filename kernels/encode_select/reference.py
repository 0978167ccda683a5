"""The definition: the whole pre-activation, and a full stable sort of it."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from saelab.kernels.csc import Pattern


def encode_select(
    x: Float[Tensor, "batch d_in"],
    W_enc: Float[Tensor, "d_in d_sae"],
    b_enc: Float[Tensor, "d_sae"],
    kept: Callable[[Tensor], Tensor],
) -> tuple[Float[Tensor, "nz"], Pattern]:
    """The pre-activations at which `kept` is true, and where they are; differentiable."""
    pre = x @ W_enc + b_enc
    mask = kept(pre.detach())
    return pre[mask], Pattern(mask.nonzero()[:, 1], F.pad(mask.sum(dim=1).cumsum(0), (1, 0)), len(b_enc))


def largest(pre: Float[Tensor, "*shape"], k: int) -> Bool[Tensor, "*shape"]:
    """True at the k largest entries that are not 0 or less; among equals the lowest flat index is kept."""
    order = pre.flatten().sort(descending=True, stable=True).indices
    kept = torch.zeros(pre.numel(), dtype=torch.bool, device=pre.device)
    kept[order[:k]] = True
    return kept.view(pre.shape) & ~(pre <= 0)  # what is not a number is kept


def topk(pre: Float[Tensor, "batch d_sae"], k: int) -> Bool[Tensor, "batch d_sae"]:
    """True at the k largest positive entries of each row; among equals the lowest feature is kept."""
    return torch.stack([largest(row, k) for row in pre])


def batch_topk(pre: Float[Tensor, "batch d_sae"], k: int) -> Bool[Tensor, "batch d_sae"]:
    """True at the batch * k largest positive entries of the whole batch."""
    return largest(pre, k * len(pre))
