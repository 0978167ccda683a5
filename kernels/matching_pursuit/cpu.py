"""In PyTorch ops on any device: some rows of the batch at a time, from the first step to the last.

The products of a step follow from those of the step before: <r_t, W_i> = <r_{t-1}, W_i> - a_t <W_{j_t}, W_i>. With the
Gram matrix W W^T at hand that is one row of it per row of the batch, d times less arithmetic than all products anew;
but the matrix costs as much as n / batch steps, and n^2 numbers. So it is made up to GRAM features, and where the steps
pay for it. The a_t are products of the residual itself anyway, so what rounding adds up decides between equals only.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from saelab.kernels.csc import Csc
from saelab.kernels.csc.cpu import sort_by_feature
from saelab.kernels.encode_select import cpu as scores

GRAM = 8192  # features: 256 MB in fp32
GRAM_BYTES = 4 << 20  # of products that exist at once: every step reads and writes them, so they stay in the cache
GRADIENT_BYTES = 64 << 20  # of rows that wait to be summed by feature


@torch.no_grad()
def pursue(
    x: Float[Tensor, "batch d"], W: Float[Tensor, "n d"], steps: int, tau: float, stop_at_repeat: bool
) -> tuple[Float[Tensor, "batch steps"], Int[Tensor, "batch steps"], Float[Tensor, "batch d"]]:
    """(a, j, what is left)."""
    n, at_once = len(W), scores.CHUNK_BYTES
    gram = W @ W.t() if n <= GRAM and n <= len(x) * steps else None
    if gram is not None and x.device.type == "cpu":
        at_once = min(at_once, GRAM_BYTES)
    rows = max(1, at_once // (n * x.element_size()))
    a, left = x.new_zeros(len(x), steps), x.clone()
    taken = torch.zeros(len(x), steps, dtype=torch.int64, device=x.device)
    for start in range(0, len(x), rows):
        part = slice(start, start + rows)
        _pursue(left[part], a[part], taken[part], W, gram, tau, stop_at_repeat)
    return a, taken, left


def _pursue(
    r: Float[Tensor, "rows d"],
    a: Float[Tensor, "rows steps"],
    taken: Int[Tensor, "rows steps"],
    W: Float[Tensor, "n d"],
    gram: Float[Tensor, "n n"] | None,
    tau: float,
    stop_at_repeat: bool,
) -> None:
    """All steps of some rows: changes r, a and taken in place."""
    going = torch.ones(len(r), dtype=torch.bool, device=r.device)
    products = r @ W.t()
    for t in range(a.shape[1]):
        j = products.argmax(dim=1)
        w = W[j]
        product = torch.linalg.vecdot(r, w)
        going &= product > 0
        step = torch.where(going, product, 0.0).unsqueeze(1)
        r.addcmul_(w, step, value=-1)
        if stop_at_repeat:
            going &= ~(taken[:, :t] == j.unsqueeze(1)).any(dim=1)
        if tau > 0:
            going &= torch.linalg.vector_norm(r, dim=1) >= tau
        a[:, t], taken[:, t] = step.squeeze(1), j
        if t + 1 < a.shape[1]:
            _ = torch.mm(r, W.t(), out=products) if gram is None else products.addcmul_(gram[j], step, value=-1)


class Pursuit(torch.autograd.Function):
    """(a, j), differentiable in x and W."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, W: Tensor, steps: int, tau: float, stop_at_repeat: bool) -> tuple[Tensor, Tensor]:
        a, taken, left = pursue(x, W, steps, tau, stop_at_repeat)
        ctx.save_for_backward(W, a, taken, left)
        ctx.mark_non_differentiable(taken)
        return a, taken

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        W, a, taken, left = ctx.saved_tensors
        r, rho, d_W = left.clone(), torch.zeros_like(left), torch.zeros_like(W)
        size = max(1, GRADIENT_BYTES // (r.numel() * r.element_size()))
        for last in range(a.shape[1], 0, -size):
            part = range(last - 1, max(-1, last - 1 - size), -1)
            rows = torch.cat([_back(r, rho, W, a[:, t], taken[:, t], gradient[:, t]) for t in part])
            order, offsets = sort_by_feature(torch.cat([taken[:, t] for t in part]), len(W))
            d_W += Csc(order, order, offsets).rows_by_feature(rows.new_ones(len(rows)), rows)
        return rho, d_W, None, None, None


def _back(r: Tensor, rho: Tensor, W: Tensor, a: Tensor, j: Tensor, gradient: Tensor) -> Float[Tensor, "rows d"]:
    """From r_t and rho_t to those of t - 1, in place; the gradient in W[j]."""
    w, a = W[j], a.unsqueeze(1)
    r.addcmul_(w, a)
    alpha = torch.where(a > 0, gradient.unsqueeze(1) - torch.linalg.vecdot(rho, w).unsqueeze(1), 0.0)
    d_w = alpha * r - a * rho
    rho.addcmul_(w, alpha)
    return d_w
