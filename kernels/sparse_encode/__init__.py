"""Sparse encode: pre-activations at the selected features only.

    pre = (x - centre) W_enc + b_enc,    kept where `rule` says

The forward computes `pre` a chunk of rows at a time into one reused buffer and keeps what the rule selects, so that
batch x d_sae never exists beyond a chunk. The backward touches the selected entries only. What is returned is the
pre-activation as it is: ReLU, a threshold and their gradients are element-wise on it, and are the caller's.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.kernels.backend import backend
from saelab.kernels.csc import Pattern
from saelab.kernels.sparse_encode import reference
from saelab.kernels.sparse_encode.cpu import SparseEncode, chunks
from saelab.kernels.sparse_encode.select import Above, BatchTopK, Rule, TopK

__all__ = ["Above", "BatchTopK", "Rule", "TopK", "sparse_encode"]


def sparse_encode(
    x: Float[Tensor, "batch d_in"],
    W_enc: Float[Tensor, "d_in d_sae"],
    b_enc: Float[Tensor, "d_sae"],
    rule: Rule,
    centre: Float[Tensor, "d_in"] | None = None,
) -> tuple[Float[Tensor, "nz"], Pattern]:
    """Pre-activations that `rule` selects, with the pattern that says where they are.

    Differentiable in x, W_enc, b_enc and centre. `W_enc` must be laid out with a feature's weights contiguous
    (strides (1, d_in)): its gradient is summed feature by feature, and comes back in the same layout.
    """
    if not len(x):
        raise ValueError("a batch has at least one row")
    if not W_enc.t().is_contiguous():
        raise ValueError(f"W_enc has strides {W_enc.stride()}: a feature's weights must be contiguous")
    if backend(x) == "reference":
        return reference.sparse_encode(x, W_enc, b_enc, rule.kept, centre)
    with torch.no_grad():
        centred = x.contiguous() if centre is None else x - centre
        values, pattern = rule.select(lambda: chunks(centred, W_enc, b_enc), len(x), len(b_enc))
    return SparseEncode.apply(x, centre, W_enc, b_enc, centred, values, pattern), pattern
