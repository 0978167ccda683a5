"""The k largest positive values of each row, in Triton: one program per row, and no sort.

Values are compared as keys: a positive fp32 number's bits are in its order as an integer; what is not positive has key
0, what is no number the largest. A first kernel takes the maximum of every group of neighbouring columns. The second
finds the k-th largest of these, which the k-th largest value must reach, and lists the groups that reach it: k, and
more only where maxima are equal. From these it lists the columns that reach it, a few more than k, and halves the
interval between it and the row's maximum until k are left, or only equal ones. Of a row of 24,576 values some 2,000 are
looked at a second time that way, from the cache. Both lists are in order: among equals the lowest feature is kept, and
a row's features come out ascending. Where there are more columns than their list holds (equal values, or large ones
side by side) the listed groups are searched instead, so the result is exact for any data.

To pack values with their index and sort them would ask for a list that holds all candidates, and another way where it
does not.
"""

from typing import NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from saelab.kernels.csc import Pattern
from saelab.kernels.csc.cpu import starts
from saelab.kernels.encode_select.scores import Scores, scores_of

GROUP = 64  # columns
MOST_GROUPS = 4096  # of a row: a program holds all their maxima
TILE = 256  # values that are looked at at once, by one warp
LARGEST = tl.constexpr(0x7FFFFFFF)  # the key of what is no number


@triton.jit
@no_type_check
def keys_of(pre, bias, row_start, column, inside):
    """Keys of a row's values at these columns; 0 outside."""
    value = tl.load(pre + row_start + column, mask=inside, other=0.0).to(tl.float32)
    if bias is not None:
        value += tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    key = tl.where(value > 0, value.to(tl.int32, bitcast=True), LARGEST)
    return tl.where(value <= 0, 0, key)


@triton.jit
@no_type_check
def _maxima(pre, bias, maxima, n, groups, GROUP: tl.constexpr, GROUPS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)  # row * n may pass 2^31
    group = tl.program_id(1) * GROUPS + tl.arange(0, GROUPS)
    column = group[:, None] * GROUP + tl.arange(0, GROUP)[None, :]
    key = keys_of(pre, bias, row * n, column, column < n)
    tl.store(maxima + row * groups + group, tl.max(key, axis=1), mask=group < groups)


@triton.jit
@no_type_check
def _listed(pre, bias, row_start, items, start, number, shift, n, TILE: tl.constexpr):
    """Columns and keys from the item `start` on of a list; an item stands for 2^shift neighbouring columns."""
    lane = tl.arange(0, TILE)
    nth = start + (lane >> shift)
    item = tl.load(items + nth, mask=nth < number, other=0)
    column = (item << shift) + (lane & ((1 << shift) - 1))
    return column, keys_of(pre, bias, row_start, column, (nth < number) & (column < n))


@triton.jit
@no_type_check
def _above(limit, pre, bias, row_start, items, number, shift, n, TILE: tl.constexpr):
    """How many of the listed values have a key above `limit`."""
    above = tl.full((TILE,), 0, tl.int32)
    start = 0
    while start < number:
        _, key = _listed(pre, bias, row_start, items, start, number, shift, n, TILE)
        above += (key > limit).to(tl.int32)
        start += TILE >> shift
    return tl.sum(above, axis=0)


@triton.jit
@no_type_check
def _list_groups(maxima, items, groups, k, GROUPS: tl.constexpr):
    """List the groups that reach the k-th largest maximum. It, the largest, and how many groups; 1 for no k-th."""
    group = tl.arange(0, GROUPS)
    peak = tl.load(maxima + group, mask=group < groups, other=0)
    low = 1
    high = tl.max(peak, axis=0)
    have = tl.sum((peak > 0).to(tl.int32), axis=0)
    while (have > k) & (low < high):
        middle = low + (high - low + 1) // 2
        reaching = tl.sum((peak >= middle).to(tl.int32), axis=0)
        if reaching >= k:
            low = middle
            have = reaching
        else:
            high = middle - 1
    wins = (peak >= low).to(tl.int32)
    tl.store(items + tl.cumsum(wins, axis=0) - 1, group, mask=wins > 0)
    return low, tl.max(peak, axis=0), tl.sum(wins, axis=0)


@triton.jit
@no_type_check
def _list_columns(low, pre, bias, row_start, items, number, shift, columns, room, n, TILE: tl.constexpr):
    """List what reaches `low` in the listed groups, as much as there is room for. How many values do."""
    have = 0
    start = 0
    while start < number:
        column, key = _listed(pre, bias, row_start, items, start, number, shift, n, TILE)
        slot = have + tl.cumsum((key >= low).to(tl.int32), axis=0) - 1
        tl.store(columns + slot, column, mask=(key >= low) & (slot < room))
        have += tl.sum((key >= low).to(tl.int32), axis=0)
        start += TILE >> shift
    return have


@triton.jit
@no_type_check
def _select(
    pre, bias, maxima, lists, values, index, counts, n, groups, k,
    SHIFT: tl.constexpr, GROUPS: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    row_start = row * n
    items = lists + row * 2 * groups
    low, high, number = _list_groups(maxima + row * groups, items, groups, k, GROUPS)
    tl.debug_barrier()  # what one thread stored above, another loads below
    shift = SHIFT
    have = _list_columns(low, pre, bias, row_start, items, number, shift, items + groups, groups, n, TILE)
    tl.debug_barrier()
    if have <= groups:
        items += groups
        number = have
        shift = 0
    while (have > k) & (low < high):
        middle = low + (high - low + 1) // 2
        reaching = _above(middle - 1, pre, bias, row_start, items, number, shift, n, TILE)
        if reaching >= k:
            low = middle
            have = reaching
        else:
            high = middle - 1

    # Of values equal to `low` there may be more than fit beside the larger ones: the first of them fit.
    spare = k - _above(low, pre, bias, row_start, items, number, shift, n, TILE)
    taken = 0
    start = 0
    while start < number:
        column, key = _listed(pre, bias, row_start, items, start, number, shift, n, TILE)
        equal = (key == low).to(tl.int32)
        keep = (key > low) | ((key == low) & (tl.cumsum(equal, axis=0) <= spare))
        spare -= tl.sum(equal, axis=0)
        slot = row * k + taken + tl.cumsum(keep.to(tl.int32), axis=0) - 1
        tl.store(values + slot, key.to(tl.float32, bitcast=True), mask=keep)
        tl.store(index + slot, column.to(tl.int64), mask=keep)
        taken += tl.sum(keep.to(tl.int32), axis=0)
        start += TILE >> shift
    tl.store(counts + row, taken)


class Kept(NamedTuple):
    """What is kept of each row: the first counts[b] values and features of row b, features ascending."""

    values: Float[Tensor, "batch k"]
    features: Int[Tensor, "batch k"]
    counts: Int[Tensor, "batch"]

    @classmethod
    def empty(cls, rows: int, k: int, device: torch.device) -> "Kept":
        """Room for it."""
        values, features = (torch.empty(rows, k, device=device, dtype=kind) for kind in (torch.float32, torch.int64))
        return cls(values, features, torch.empty(rows, device=device, dtype=torch.int32))

    def packed(self, n: int) -> tuple[Float[Tensor, "nz"], Pattern]:
        """The same without gaps. The device is asked how many there are."""
        slot = torch.arange(self.values.shape[1], device=self.values.device)
        kept = (slot < self.counts.unsqueeze(1)).flatten().nonzero().squeeze(1)
        return self.values.flatten()[kept], Pattern(self.features.flatten()[kept], starts(self.counts), n)


def topk(
    x: Float[Tensor, "batch d_in"], W_enc: Float[Tensor, "d_in d_sae"], b_enc: Float[Tensor, "d_sae"], k: int
) -> Kept:
    """The k largest positive pre-activations of each row, in fp32; among equals the lowest feature is kept."""
    kept = Kept.empty(len(x), min(k, len(b_enc)), x.device)
    for scores in scores_of(x, W_enc, b_enc):
        rows = slice(scores.first, scores.first + len(scores.pre))
        _select_rows(scores, Kept(*(part[rows] for part in kept)))
    return kept


def _select_rows(scores: Scores, kept: Kept) -> None:
    """Fill in `kept` for the rows of one chunk."""
    rows, n = scores.pre.shape
    k, device = kept.values.shape[1], scores.pre.device
    group = group_size(n, k)
    groups = triton.cdiv(n, group)
    maxima = torch.empty(rows, groups, device=device, dtype=torch.int32)
    lists = torch.empty(rows, 2, groups, device=device, dtype=torch.int32)  # of groups, and of columns
    at_once = max(1, 4096 // group)
    _maxima[(rows, triton.cdiv(groups, at_once))](
        scores.pre, scores.bias, maxima, n, groups, GROUP=group, GROUPS=at_once, num_warps=4
    )  # fmt: skip
    power = triton.next_power_of_2(groups)
    _select[(rows,)](
        scores.pre, scores.bias, maxima, lists, *kept, n, groups, k,
        SHIFT=group.bit_length() - 1, GROUPS=power, TILE=max(TILE, group), num_warps=max(1, power // 1024),
    )  # fmt: skip


def group_size(n: int, k: int) -> int:
    """GROUP columns, fewer where there would not be 4 k groups (of which the k largest values then share few), and
    more where a row would have more than MOST_GROUPS. A power of two."""
    size = GROUP
    while size > 1 and n // size < 4 * k:
        size //= 2
    while n > size * MOST_GROUPS:
        size *= 2
    return size
