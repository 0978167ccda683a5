"""In PyTorch ops on any device: five dense products of the dead rows, and as few passes over the batch as they allow.

With a handful of dead features, autograd's dozen passes over [batch, d] cost more than the products do.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from saelab.kernels.deferred import Rows, current, deferred_or_whole


class AuxK(torch.autograd.Function):
    """The loss; gradients in W_enc^T [d_sae, d_in], b_enc and W_dec."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        """Inputs: W_enc^T, b_enc, W_dec (these three get gradients), x, centre, error, residual_scale, index, k."""
        W_enc, b_enc, W_dec, x, centre, error, scale, index, k = inputs
        read, write = W_enc.index_select(0, index), W_dec.index_select(0, index)
        f = torch.addmm(b_enc[index] - read @ centre, x, read.t()).relu_()  # [batch, n_dead]
        if len(index) > k:
            top = f.topk(k, dim=1, sorted=False)
            f = torch.zeros_like(f).scatter_(1, top.indices, top.values)
        r = torch.addmm(error, f, write, beta=-scale)  # e_hat - e
        total = _square(error)
        varies = total - _square(error.sum(dim=0)) / len(error)
        variance = torch.where(varies > 64 * torch.finfo(error.dtype).eps * total, scale**2 * varies, 0.0)  # not noise
        ctx.save_for_backward(W_enc, W_dec, x, centre, index, f, r, write, variance)
        ctx.deferred = current()
        return torch.where(variance > 0, _square(r) / variance, 0.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        W_enc, W_dec, x, centre, index, f, r, write, variance = ctx.saved_tensors
        c = torch.where(variance > 0, 2 * upstream / variance, 0.0)
        g = (r @ write.t()).mul_(c).masked_fill_(f <= 0, 0.0)
        sums = g.sum(dim=0)
        d_read = torch.addmm(torch.outer(sums, -centre), g.t(), x)
        d_W_enc = deferred_or_whole(ctx.deferred, W_enc, Rows(index, d_read))
        d_W_dec = deferred_or_whole(ctx.deferred, W_dec, Rows(index, (f.t() @ r).mul_(c)))
        d_b = torch.zeros(len(W_enc), dtype=sums.dtype, device=sums.device).index_copy_(0, index, sums)
        return d_W_enc, d_b, d_W_dec, *[None] * 6


def _square(rows: Tensor) -> Tensor:
    """The sum of all squares."""
    return rows.flatten().dot(rows.flatten())
