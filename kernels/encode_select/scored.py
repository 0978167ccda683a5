"""Top-k by something else than the value: a score made of the pre-activations decides, the pre-activations are kept.

The scores are as many as the pre-activations, so both exist for a chunk of rows at a time. Rough pre-activations would
bound no score, so these are exact ones.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from saelab.kernels.csc import Pattern
from saelab.kernels.encode_select import reference
from saelab.kernels.encode_select.cpu import ExactChunk
from saelab.kernels.encode_select.rules import Chunks, TopK


@dataclass(frozen=True)
class ScoredTopK:
    """The k of each row whose score is largest and positive; among equals the lowest feature is kept.

    `score(pre, rows)` of the pre-activations `pre` [some, d_sae] of these rows is positive only where they are. It may
    reuse a buffer of its own, and leaves `pre` as it is.
    """

    k: int
    score: Callable[[Tensor, slice], Tensor]

    def select(self, chunks: Chunks, n_rows: int, n: int) -> tuple[Float[Tensor, "nz"], Pattern]:
        values, patterns, start = [], [], 0
        for chunk in chunks():
            assert isinstance(chunk, ExactChunk), "keeps_few rules others out"
            scored = ExactChunk(self.score(chunk.values, slice(start, start + chunk.n_rows)))
            _, pattern = TopK(self.k).select(lambda one=scored: iter([one]), chunk.n_rows, n)
            values.append(chunk.values[pattern.row, pattern.index])
            patterns.append(pattern)
            start += chunk.n_rows
        counts = torch.cat([pattern.counts for pattern in patterns])
        index = torch.cat([pattern.index for pattern in patterns])
        return torch.cat(values), Pattern(index, F.pad(counts.cumsum(0), (1, 0)), n)

    def kept(self, pre: Float[Tensor, "batch d_sae"]) -> Bool[Tensor, "batch d_sae"]:
        return reference.topk(self.score(pre, slice(0, len(pre))), self.k)

    def keeps_few(self, n: int) -> bool:
        return False
