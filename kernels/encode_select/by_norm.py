"""Of every row its largest pre-activations, as many as make them together about as long as a given length.

With v_1 >= v_2 >= ... the positive values of a row and C_j the sum of the squares of the first j,

    kept: the first k,   k = argmin over j >= 1 of |sqrt(C_j) - length|,   the smaller one of two as near

sqrt(C_j) rises with j: k is the first j that reaches the length, or the one before, and where none does all are kept.
They are looked for among what exceeds a guess, which is lowered for the rows where that falls short.

Lee et al. 2025, "Evaluating and designing sparse autoencoders by approximating quasi-orthogonality" (top-AFA).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from saelab.kernels.csc import Pattern
from saelab.kernels.encode_select.rules import FEW, Chunk, Chunks, positive
from saelab.kernels.encode_select.survivors import Survivors

GUESS, MORE = 32, 4  # values of a row that are looked at first, and how many times as many each time they fall short


@dataclass(frozen=True)
class NormMatch:
    """See the module; among equal values the lowest feature is kept."""

    length: Float[Tensor, "batch"]

    def select(self, chunks: Chunks, n_rows: int, n: int) -> tuple[Float[Tensor, "nz"], Pattern]:
        parts, start = [], 0
        for chunk in chunks():
            found = _rows(chunk, self.length[start : start + chunk.n_rows])
            parts.append(Survivors(found.values, found.place + start * n))
            start += chunk.n_rows
        every = Survivors(*(torch.cat(part) for part in zip(*parts, strict=True)))
        return every.values, every.pattern(n_rows, n)

    def kept(self, pre: Float[Tensor, "batch d_sae"]) -> Bool[Tensor, "batch d_sae"]:
        kept = torch.zeros_like(pre, dtype=torch.bool)
        for row, length, mine in zip(pre, self.length.tolist(), kept, strict=True):
            order = row.sort(descending=True, stable=True).indices
            order = order[~(row[order] <= 0)]
            lengths = row[order].square().cumsum(0).sqrt().tolist()
            k = 1 + sum(one < length for one in lengths)  # the first to reach it
            if 1 < k <= len(lengths) and length - lengths[k - 2] <= lengths[k - 1] - length:
                k -= 1
            mine[order[:k]] = True
        return kept

    def keeps_few(self, n: int) -> bool:
        return False  # as many as the data asks for


def _rows(chunk: Chunk, length: Float[Tensor, "rows"]) -> Survivors:
    """Some values of each row, then more for the rows where they are too short, at last all."""
    short = torch.ones(chunk.n_rows, 1, dtype=torch.bool, device=length.device)
    parts, number = [], GUESS
    while bool(short.any()):
        everything = FEW * number > chunk.n
        bound = torch.zeros_like(short, dtype=length.dtype) if everything else chunk.reached(number).clamp_min(0)
        found = positive(chunk.survivors(torch.where(short, bound, torch.inf)))
        kept, reached = _nearest(found, length, chunk.n)
        decided = short.flatten() & (reached | (bound.flatten() <= 0))
        parts.append(found.where(kept & decided[found.place // chunk.n]))
        short = short & ~decided.unsqueeze(1)
        number *= MORE
    values, place = (torch.cat(part) for part in zip(*parts, strict=True))
    order = place.argsort()
    return Survivors(values[order], place[order])


def _nearest(
    found: Survivors, length: Float[Tensor, "rows"], n: int
) -> tuple[Bool[Tensor, "nz"], Bool[Tensor, "rows"]]:
    """What is kept of these values, and for which rows they are together as long as asked, so that no more matter."""
    pattern = found.pattern(len(length), n)
    width = max(1, int(pattern.counts.max()))
    column = torch.arange(len(found.values), device=length.device) - pattern.offsets[pattern.row]
    rows = found.values.new_zeros(len(length), width).index_put_((pattern.row, column), found.values)
    ordered = rows.sort(dim=1, descending=True, stable=True)
    lengths, wanted = ordered.values.square().cumsum(dim=1).sqrt(), length.unsqueeze(1)
    last = (lengths < wanted).sum(dim=1, keepdim=True)  # the first to reach it, or the width
    before = lengths.gather(1, (last - 1).clamp_min(0))
    past = lengths.gather(1, last.clamp_max(width - 1))
    last = last - ((last > 0) & (last < width) & (wanted - before <= past - wanted)).long()
    first = torch.arange(width, device=length.device) <= last
    kept = torch.zeros_like(first).scatter_(1, ordered.indices, first)
    return kept[pattern.row, column], lengths[:, -1] >= length
