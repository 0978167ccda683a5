"""Every value above a threshold, in row-major order, in Triton.

A first kernel counts what passes in every group of neighbouring columns. The running sum of the counts is where each
group's values belong; a second kernel writes them there, and of the groups in which nothing passes it reads nothing.
"""

from typing import NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from saelab.kernels.csc import Pattern
from saelab.kernels.encode_select.scores import Scores, scores_of
from saelab.kernels.encode_select.survivors import pattern_of

GROUP = 64  # columns
GROUPS = 64  # of a program


@triton.jit
@no_type_check
def _passing(pre, bias, threshold, row_start, column, inside, STEP: tl.constexpr):
    """A row's values at these columns, and which of them are not at or below their threshold."""
    value = tl.load(pre + row_start + column, mask=inside, other=0.0).to(tl.float32)
    if bias is not None:
        value += tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    limit = tl.load(threshold + column * STEP, mask=inside, other=0.0).to(tl.float32)
    return value, inside & ~(value <= limit)  # so what is not a number passes


@triton.jit
@no_type_check
def _count(
    pre, bias, threshold, counts, n, groups, STEP: tl.constexpr, GROUP: tl.constexpr, GROUPS: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)  # row * n may pass 2^31
    group = tl.program_id(1) * GROUPS + tl.arange(0, GROUPS)
    column = group[:, None] * GROUP + tl.arange(0, GROUP)[None, :]
    _, passes = _passing(pre, bias, threshold, row * n, column, column < n, STEP)
    tl.store(counts + row * groups + group, tl.sum(passes.to(tl.int32), axis=1), mask=group < groups)


@triton.jit
@no_type_check
def _write(
    pre, bias, threshold, counts, ends, values, place, first, room, n, groups,
    STEP: tl.constexpr, GROUP: tl.constexpr, GROUPS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    group = tl.program_id(1) * GROUPS + tl.arange(0, GROUPS)
    number = tl.load(counts + row * groups + group, mask=group < groups, other=0)
    if tl.sum(number, axis=0) > 0:
        start = tl.load(ends + row * groups + group, mask=group < groups, other=0) - number
        column = group[:, None] * GROUP + tl.arange(0, GROUP)[None, :]
        inside = (column < n) & (number > 0)[:, None]
        value, passes = _passing(pre, bias, threshold, row * n, column, inside, STEP)
        slot = start[:, None] + tl.cumsum(passes.to(tl.int32), axis=1) - 1
        passes = passes & (slot < room)
        tl.store(values + slot, value, mask=passes)
        tl.store(place + slot, (first + row) * n + column, mask=passes)


class Passing(NamedTuple):
    """Counts of what passes in each group of a chunk, and where its values end among those of the whole batch."""

    scores: Scores
    threshold: Float[Tensor, "1 or n"]
    counts: Int[Tensor, "rows groups"]
    ends: Int[Tensor, "rows*groups"]

    @classmethod
    def of(cls, scores: Scores, threshold: Float[Tensor, "some"], before: Int[Tensor, "..."] | int = 0) -> "Passing":
        """What is above `threshold`, one number or one per feature; `before` values precede this chunk's."""
        rows, n = scores.pre.shape
        groups = triton.cdiv(n, GROUP)
        counts = torch.empty(rows, groups, device=scores.pre.device, dtype=torch.int32)
        _count[(rows, triton.cdiv(groups, GROUPS))](
            scores.pre, scores.bias, threshold, counts, n, groups,
            STEP=int(len(threshold) > 1), GROUP=GROUP, GROUPS=GROUPS, num_warps=8,
        )  # fmt: skip
        return cls(scores, threshold, counts, counts.flatten().cumsum(0) + before)

    def write(self, values: Float[Tensor, "room"], place: Int[Tensor, "room"]) -> None:
        """Put values and flat places row * n + feature where they belong, as far as there is room."""
        rows, n = self.scores.pre.shape
        groups = self.counts.shape[1]
        _write[(rows, triton.cdiv(groups, GROUPS))](
            self.scores.pre, self.scores.bias, self.threshold, self.counts, self.ends, values, place,
            self.scores.first, len(values), n, groups,
            STEP=int(len(self.threshold) > 1), GROUP=GROUP, GROUPS=GROUPS, num_warps=8,
        )  # fmt: skip


def above(
    x: Float[Tensor, "batch d_in"],
    W_enc: Float[Tensor, "d_in d_sae"],
    b_enc: Float[Tensor, "d_sae"],
    threshold: Float[Tensor, "d_sae"] | float,
) -> tuple[Float[Tensor, "nz"], Pattern]:
    """Every pre-activation above its feature's threshold, in fp32.

    The device is asked once per chunk: how many there are, which no guess could tell.
    """
    if not isinstance(threshold, Tensor):
        threshold = torch.full((1,), threshold, device=x.device)
    parts = []
    for scores in scores_of(x, W_enc, b_enc):
        passing = Passing.of(scores, threshold.flatten().contiguous())
        found = space(int(passing.ends[-1]), x.device)
        passing.write(*found)
        parts.append(found)
    values, place = (torch.cat(part) for part in zip(*parts, strict=True))
    return values, pattern_of(place, len(x), len(b_enc))


def space(room: int, device: torch.device) -> tuple[Float[Tensor, "room"], Int[Tensor, "room"]]:
    """Room for so many values and their places."""
    return torch.empty(room, device=device), torch.empty(room, device=device, dtype=torch.int64)
