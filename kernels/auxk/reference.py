"""The definition, and autograd."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def auxk_loss(
    x: Float[Tensor, "batch d_in"],
    e: Float[Tensor, "batch d_out"],
    W_enc: Float[Tensor, "d_in d_sae"],
    b_enc: Float[Tensor, "d_sae"],
    W_dec: Float[Tensor, "d_sae d_out"],
    index: Int[Tensor, "n_dead"],
    k: int,
) -> Float[Tensor, ""]:
    """x is what the encoder reads, centred; e the residual."""
    x, e = x.detach(), e.detach()
    f = torch.relu(x @ W_enc[:, index] + b_enc[index])  # [batch, n_dead]
    if len(index) > k:
        top = f.topk(k, dim=1)
        f = torch.zeros_like(f).scatter(1, top.indices, top.values)
    variance = (e - e.mean(dim=0)).pow(2).sum()
    error = (e - f @ W_dec[index]).pow(2).sum()
    return error / variance if variance > 0 else 0 * error
