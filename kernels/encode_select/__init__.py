"""Encode and select: the pre-activations that a rule keeps, without ever holding all of them.

    pre = x W_enc + b_enc,    kept where `rule` says

They are computed a chunk of rows at a time into one reused buffer. On a processor with bf16 instructions the chunk is
only a rough one, and what it cannot rule out is computed again in fp32 (`rough.py`): the rule decides on exact values
always. No gradients here; `sparse_encode` has them.
"""

from jaxtyping import Float
from torch import Tensor

from saelab.kernels.backend import backend
from saelab.kernels.csc import Pattern
from saelab.kernels.encode_select import cpu, reference
from saelab.kernels.encode_select.by_column import FeatureChoice
from saelab.kernels.encode_select.by_norm import NormMatch
from saelab.kernels.encode_select.rules import Above, BatchTopK, Rule, TopK
from saelab.kernels.encode_select.scored import ScoredTopK

__all__ = ["Above", "BatchTopK", "FeatureChoice", "NormMatch", "Rule", "ScoredTopK", "TopK", "encode_select"]


def encode_select(
    x: Float[Tensor, "batch d_in"], W_enc: Float[Tensor, "d_in d_sae"], b_enc: Float[Tensor, "d_sae"], rule: Rule
) -> tuple[Float[Tensor, "nz"], Pattern]:
    """Pre-activations that `rule` selects, with the pattern that says where they are.

    `W_enc` must be laid out with a feature's weights contiguous (strides (1, d_in)). Raises ValueError otherwise.
    """
    if not len(x):
        raise ValueError("a batch has at least one row")
    if not W_enc.t().is_contiguous():
        raise ValueError(f"W_enc has strides {W_enc.stride()}: a feature's weights must be contiguous")
    name = backend(x)
    if name == "reference":
        return reference.encode_select(x, W_enc, b_enc, rule.kept)
    if name == "triton":
        from saelab.kernels.encode_select import fused

        return fused.encode_select(x.contiguous(), W_enc, b_enc, rule)
    return cpu.encode_select(x.contiguous(), W_enc, b_enc, rule)
