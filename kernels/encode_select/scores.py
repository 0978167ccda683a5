"""Pre-activations in fp32, a chunk of rows at a time, for the selections in Triton."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.kernels.workspace import workspace

# Bytes of pre-activations that exist at once: 1024 rows or more up to 131,072 features, so that what reading W_enc
# anew for every chunk costs stays below the multiplication. Not measured yet.
CHUNK_BYTES = 512 << 20


class Scores(NamedTuple):
    """Pre-activations of the rows from `first` on, before `bias` where one is given: kernels add it as they load."""

    first: int
    pre: Float[Tensor, "rows n"]
    bias: Float[Tensor, "n"] | None


def scores_of(
    x: Float[Tensor, "batch d_in"], W_enc: Float[Tensor, "d_in d_sae"], b_enc: Float[Tensor, "d_sae"]
) -> Iterator[Scores]:
    """All rows in order; each chunk may be overwritten when the next is asked for.

    fp32 operands give what torch.addmm gives. Of bf16 or fp16 ones the sums are kept in fp32 (a GPU, torch >= 2.8);
    torch.addmm would round them.
    """
    parts = -(-len(x) * len(b_enc) * 4 // CHUNK_BYTES)
    rows = -(-len(x) // parts)
    for first in range(0, len(x), rows):
        part = x[first : first + rows]
        if x.dtype == torch.float32:
            buffer = workspace.take(len(part), len(b_enc), x.device, x.dtype, "scores")
            yield Scores(first, torch.addmm(b_enc, part, W_enc, out=buffer), None)
        else:
            yield Scores(first, torch.mm(part, W_enc, out_dtype=torch.float32), b_enc.contiguous())
