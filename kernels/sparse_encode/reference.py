"""The definition: the whole pre-activation, and a full stable sort of it."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def pre_activations(
    x: Float[Tensor, "batch d_in"],
    W_enc: Float[Tensor, "d_in d_sae"],
    b_enc: Float[Tensor, "d_sae"],
    centre: Float[Tensor, "d_in"],
) -> Float[Tensor, "batch d_sae"]:
    """pre = (x - centre) W_enc + b_enc."""
    return (x - centre) @ W_enc + b_enc


def largest(pre: Float[Tensor, "*shape"], k: int) -> Bool[Tensor, "*shape"]:
    """True at the k largest entries of the whole tensor; among equals the lowest flat index is kept."""
    order = pre.flatten().sort(descending=True, stable=True).indices
    kept = torch.zeros(pre.numel(), dtype=torch.bool)
    kept[order[:k]] = True
    return kept.view(pre.shape)


def topk(pre: Float[Tensor, "batch d_sae"], k: int) -> Bool[Tensor, "batch d_sae"]:
    """True at the k largest entries of each row; among equals the lowest feature is kept."""
    return torch.stack([largest(row, k) for row in pre])


def batch_topk(pre: Float[Tensor, "batch d_sae"], k: int) -> Bool[Tensor, "batch d_sae"]:
    """True at the batch * k largest positive entries of the whole batch."""
    return largest(pre, k * len(pre)) & (pre > 0)
