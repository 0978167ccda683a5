"""In Triton: the selections of each rule, from fp32 pre-activations that cuBLAS computes a chunk of rows at a time.

Rules without a kernel run in PyTorch operations on those pre-activations, and so does fp64, which the kernels would
round, on its own (cpu.py).
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saelab.kernels.csc import Pattern
from saelab.kernels.encode_select import cpu, passing, row_select
from saelab.kernels.encode_select.cut import cut_of
from saelab.kernels.encode_select.passing import Passing, space
from saelab.kernels.encode_select.rules import Above, BatchTopK, Rule, TopK
from saelab.kernels.encode_select.scores import scores_of
from saelab.kernels.encode_select.survivors import pattern_of

SAMPLE = 64  # rows of which BatchTopK reads off where to look: k per row is then known to some 20 % on real rows
MARGINS = (2.0, 8.0, float("inf"))  # times as many candidates as are wanted
ROOM = 4  # times as many as are wanted


@torch.no_grad()
def encode_select(
    x: Float[Tensor, "batch d_in"], W_enc: Float[Tensor, "d_in d_sae"], b_enc: Float[Tensor, "d_sae"], rule: Rule
) -> tuple[Float[Tensor, "nz"], Pattern]:
    """The pre-activations that `rule` keeps, in fp32, and where they are."""
    selection: Any = SELECTIONS.get(type(rule), _plain)
    half = x.is_cuda and x.dtype in (torch.bfloat16, torch.float16)
    if not (half or x.dtype == torch.float32):
        return cpu.encode_select(x, W_enc, b_enc, rule)
    return selection(x, W_enc, b_enc, rule)


def _plain(x: Tensor, W_enc: Tensor, b_enc: Tensor, rule: Rule) -> tuple[Tensor, Pattern]:
    """A rule without a kernel: its own operations, on the sums in fp32 that the kernels get."""

    def chunks() -> Iterator[cpu.ExactChunk]:
        for _, pre, bias in scores_of(x, W_enc, b_enc):
            yield cpu.ExactChunk(pre if bias is None else pre.add_(bias))

    return rule.select(chunks, len(x), len(b_enc))


def _topk(x: Tensor, W_enc: Tensor, b_enc: Tensor, rule: TopK) -> tuple[Tensor, Pattern]:
    return row_select.topk(x, W_enc, b_enc, rule.k).packed(len(b_enc))


def _above(x: Tensor, W_enc: Tensor, b_enc: Tensor, rule: Above) -> tuple[Tensor, Pattern]:
    return passing.above(x, W_enc, b_enc, rule.threshold)


def batch_topk(x: Tensor, W_enc: Tensor, b_enc: Tensor, rule: BatchTopK) -> tuple[Tensor, Pattern]:
    """The batch * k largest positive pre-activations; among equals the lowest (row, feature) is kept.

    A threshold that about twice as many exceed is read off some rows, what exceeds it is compacted, and the cut is made
    among that. Should too few exceed it, it is lowered; should there be more than there is room for, room is made. Then
    the pass is repeated, so the result is exact for any data. The device is asked once per pass: how many exceed it.
    """
    wanted = min(rule.k, len(b_enc)) * len(x)
    for margin in MARGINS:
        threshold = _likely_threshold(x, W_enc, b_enc, margin * rule.k)
        values, place, limit = _candidates(x, W_enc, b_enc, threshold, ROOM * wanted)
        if len(values) >= wanted or limit == 0:
            break
    kept = _largest(values, wanted)
    return values[kept], pattern_of(place[kept], len(x), len(b_enc))


def _likely_threshold(x: Tensor, W_enc: Tensor, b_enc: Tensor, per_row: float) -> Float[Tensor, "1"]:
    """A value that about `per_row` pre-activations of a row exceed, on average; never below 0."""
    some = x[:: -(-len(x) // SAMPLE)].contiguous()
    number = per_row * len(some)
    if number >= len(some) * len(b_enc):
        return torch.zeros(1, device=x.device)
    _, pre, bias = next(scores_of(some, W_enc, b_enc))  # so few rows are one chunk
    sample = (pre if bias is None else pre + bias).nan_to_num(nan=-torch.inf)
    return sample.flatten().topk(int(number), sorted=False).values.amin(dim=0, keepdim=True).clamp_min(0)


def _candidates(
    x: Tensor, W_enc: Tensor, b_enc: Tensor, threshold: Float[Tensor, "1"], room: int
) -> tuple[Float[Tensor, "m"], Int[Tensor, "m"], float]:
    """Every value above the threshold and its place row * n + feature, and the threshold."""
    while True:
        values, place = space(room, x.device)
        number: Tensor | int = 0
        for scores in scores_of(x, W_enc, b_enc):
            found = Passing.of(scores, threshold, before=number)
            found.write(values, place)
            number = found.ends[-1:]
        total, limit = torch.cat([torch.as_tensor(number).double(), threshold.double()]).tolist()
        if total <= room:
            return values[: int(total)], place[: int(total)], limit
        room = int(total)


def _largest(values: Float[Tensor, "m"], number: int) -> Int[Tensor, "kept"]:
    """Where the `number` largest positive values are, in order; among equals the first are kept."""
    if len(values) <= number:
        return torch.arange(len(values), device=values.device)
    keys = torch.where(values.isnan(), torch.iinfo(torch.int32).max, values.view(torch.int32))
    cut = cut_of(keys, number)
    equal = keys == cut.key
    kept = (keys > cut.key) | (equal & (equal.cumsum(0) <= number - cut.above))
    return torch.searchsorted(kept.cumsum(0), torch.arange(1, number + 1, device=values.device))


SELECTIONS = {TopK: _topk, BatchTopK: batch_topk, Above: _above}
