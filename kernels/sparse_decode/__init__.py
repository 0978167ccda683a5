"""Sparse decode: x_hat = f W_dec for a sparse f, in time of the active entries rather than of batch x d_sae."""

from jaxtyping import Float
from torch import Tensor

from saelab.kernels.backend import backend
from saelab.kernels.csc import Pattern
from saelab.kernels.sparse_decode import reference
from saelab.kernels.sparse_decode.cpu import SparseDecode


def sparse_decode(
    values: Float[Tensor, "nz"], pattern: Pattern, W_dec: Float[Tensor, "d_sae d_out"]
) -> Float[Tensor, "batch d_out"]:
    """x_hat[b] = sum over the entries e of row b of values[e] * W_dec[index[e]], differentiable in both."""
    if len(values) != len(pattern.index) or len(W_dec) != pattern.n:
        raise ValueError(
            f"{len(values)} values for {len(pattern.index)} entries; {len(W_dec)} rows for {pattern.n} features"
        )
    if not W_dec.is_contiguous():
        raise ValueError(f"W_dec has strides {W_dec.stride()}: a feature's row must be contiguous")
    if backend(W_dec) == "reference":
        return reference.sparse_decode(values, pattern, W_dec)
    return SparseDecode.apply(values, W_dec, pattern)
