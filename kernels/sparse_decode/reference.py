"""The definition: gather the rows, weigh them, add them up."""

from jaxtyping import Float
from torch import Tensor

from saelab.kernels.csc import Pattern


def sparse_decode(
    values: Float[Tensor, "nz"], pattern: Pattern, W_dec: Float[Tensor, "d_sae d_out"]
) -> Float[Tensor, "batch d_out"]:
    """x_hat[b] = sum over the entries e of row b of values[e] * W_dec[index[e]]."""
    terms = values.unsqueeze(1) * W_dec[pattern.index]  # [nz, d_out]
    return terms.new_zeros(pattern.n_rows, W_dec.shape[1]).index_add(0, pattern.row, terms)
