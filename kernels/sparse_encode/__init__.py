"""Sparse encode: pre-activations at the selected features only, differentiable.

    pre = (x - centre) W_enc + b_enc,    kept where `rule` says

With g[e] the gradient of the pre-activation at entry e, and s[i] the sum of g over the entries of feature i:

    d W_enc[:, i] = sum over entries e of i of g[e] (x[row] - centre)       d b_enc = s
    d x[b]        = sum over entries e of b of g[e] W_enc[:, index]         d centre = -W_enc s

The backward touches the selected entries only. Its last line is why a trainable centre is cheap: autograd would form
the whole of d x (a sixth GEMM per step in a dense SAE) only to add it up. What is returned is the pre-activation as it
is: ReLU, a threshold and their gradients are element-wise on it, and are the caller's.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from saelab.kernels.csc import Pattern
from saelab.kernels.csc.cpu import bag, weighted_sum
from saelab.kernels.deferred import RowSum, current, deferred_or_whole
from saelab.kernels.encode_select import Rule, TopK, encode_select


def sparse_encode(
    x: Float[Tensor, "batch d_in"],
    W_enc: Float[Tensor, "d_in d_sae"],
    b_enc: Float[Tensor, "d_sae"],
    rule: Rule,
    centre: Float[Tensor, "d_in"] | None = None,
    products: torch.dtype | None = None,
) -> tuple[Float[Tensor, "nz"], Pattern]:
    """Pre-activations that `rule` selects, with the pattern that says where they are.

    Differentiable in x, W_enc, b_enc and centre. `W_enc` must be laid out with a feature's weights contiguous
    (strides (1, d_in)): its gradient is summed feature by feature, and comes back in the same layout. `products`, on a
    GPU, is what the factors of the large product are rounded to first; its sums are fp32, and decided on as such.
    """
    with torch.no_grad():
        centred = x.contiguous() if centre is None else x - centre
        factors = (centred, W_enc) if products is None else (centred.to(products), W_enc.t().to(products).t())
        values, pattern = encode_select(*factors, b_enc, rule)
    return SparseEncode.apply(x, centre, W_enc, b_enc, centred, values, pattern), pattern


def topk_encode(
    x: Float[Tensor, "batch d_in"],
    W_enc: Float[Tensor, "d_in d_sae"],
    b_enc: Float[Tensor, "d_sae"],
    k: int,
    centre: Float[Tensor, "d_in"] | None = None,
) -> tuple[Float[Tensor, "nz"], Pattern]:
    """The k largest positive pre-activations of each row, for `sparse_decode`; differentiable as `sparse_encode` is."""
    return sparse_encode(x, W_enc, b_enc, TopK(k), centre)


class SparseEncode(torch.autograd.Function):
    """Hands `values` on and gives them the gradients of the pre-activations they are."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        """Inputs: x, centre, W_enc, b_enc (these four get gradients), x - centre, values, pattern."""
        W_enc, _, centred, values, pattern = inputs[2:]
        ctx.save_for_backward(W_enc, centred)
        ctx.pattern, ctx.deferred = pattern, current()
        return values.view_as(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        W_enc, centred = ctx.saved_tensors
        needs_x, needs_centre, needs_W, needs_b = ctx.needs_input_grad[:4]
        pattern, gradient = ctx.pattern, gradient.contiguous()
        summed = pattern.csc.by_feature(gradient) if needs_centre or needs_b else None
        d_x = bag(pattern.index, pattern.offsets, W_enc.t(), gradient) if needs_x else None
        d_centre = -weighted_sum(W_enc.t(), summed) if needs_centre else None
        d_W = None
        if needs_W:
            d_W = deferred_or_whole(ctx.deferred, W_enc.t(), RowSum(pattern.csc, gradient, centred))
        return d_x, d_centre, None if d_W is None else d_W.t(), summed if needs_b else None, None, None, None
