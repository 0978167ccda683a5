"""Sums by feature in Triton: each weight gradient from the entries sorted by feature.

One program per feature adds up its entries, four rows in flight at a time. A feature of more than PIECE entries would
keep its program busy while all others have ended (one that fires on every row of a batch: a thousand times as long), so
its entries are summed in pieces before that, each by a program of its own, and its program only adds the pieces up, in
order. No atomics: the same inputs give the same bits. How many pieces there are is not asked of the device: as many
programs are launched as there may be, and those without a piece end at once.

`no_type_check` keeps the tests' import hook, which executes shapes, from wrapping what Triton is to compile.
"""

from typing import NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

PIECE = 128  # entries
BLOCK_D = 512
ENTRIES = 4  # rows that are fetched at once: their addresses do not wait for each other


@triton.jit
@no_type_check
def sum_of_entries(row, weight, rows, first, last, column, d, ENTRIES: tl.constexpr, BLOCK_D: tl.constexpr):
    """fp32 sum over the entries from first up to last of weight * rows[row], at these columns."""
    total = tl.full((ENTRIES, BLOCK_D), 0.0, tl.float32)
    for start in range(first, last, ENTRIES):
        entry = start + tl.arange(0, ENTRIES)
        own = entry < last
        place = tl.load(row + entry, mask=own, other=0).to(tl.int64) * d  # may pass 2^31
        scale = tl.load(weight + entry, mask=own, other=0.0).to(tl.float32)
        inside = own[:, None] & (column < d)[None, :]
        taken = tl.load(rows + place[:, None] + column[None, :], mask=inside, other=0.0).to(tl.float32)
        total += scale[:, None] * taken
    return tl.sum(total, axis=0)


@triton.jit
@no_type_check
def sum_of_feature(
    feature, row, weight, rows, offsets, ends, sums, column, d,
    PIECE: tl.constexpr, ENTRIES: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """The same over all entries of a feature; those of a feature in pieces have been summed into `sums`."""
    first = tl.load(offsets + feature)
    last = tl.load(offsets + feature + 1)
    if last - first <= PIECE:
        total = sum_of_entries(row, weight, rows, first, last, column, d, ENTRIES, BLOCK_D)
    else:
        total = tl.full((BLOCK_D,), 0.0, tl.float32)
        end = tl.load(ends + feature)
        for piece in range(end - (last - first + PIECE - 1) // PIECE, end):
            total += tl.load(sums + tl.cast(piece, tl.int64) * d + column, mask=column < d, other=0.0)
    return total


@triton.jit
@no_type_check
def _sum_pieces(
    row, weight, rows, offsets, ends, features, sums, n, d,
    PIECE: tl.constexpr, ENTRIES: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    piece = tl.program_id(0)
    column = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    feature = tl.load(features + piece)
    if feature < n:
        first = tl.load(offsets + feature)
        last = tl.load(offsets + feature + 1)
        nth = piece - tl.load(ends + feature) + (last - first + PIECE - 1) // PIECE  # of the feature's pieces
        first += nth * PIECE
        last = tl.minimum(first + PIECE, last)
        total = sum_of_entries(row, weight, rows, first, last, column, d, ENTRIES, BLOCK_D)
        tl.store(sums + piece.to(tl.int64) * d + column, total, mask=column < d)


@triton.jit
@no_type_check
def _sum_features(
    row, weight, rows, offsets, ends, sums, out, d,
    PIECE: tl.constexpr, ENTRIES: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    feature = tl.program_id(0)
    column = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    total = sum_of_feature(
        feature, row, weight, rows, offsets, ends, sums, column, d, PIECE, ENTRIES, BLOCK_D
    )  # fmt: skip
    tl.store(out + feature.to(tl.int64) * d + column, total, mask=column < d)


class Pieces(NamedTuple):
    """What `sum_of_feature` needs to know of features in pieces: theirs end at ends[i], in features' order."""

    ends: Int[Tensor, "n"]
    sums: Float[Tensor, "most d"]


def sum_pieces(
    weight: Float[Tensor, "nz"],
    rows: Float[Tensor, "batch d"],
    row: Int[Tensor, "nz"],
    offsets: Int[Tensor, "n_plus_1"],
    size: int = PIECE,
) -> Pieces:
    """The sums over all pieces of `size` entries of features that have more; `weight` by feature."""
    n, d = len(offsets) - 1, rows.shape[1]
    counts = offsets.diff()
    ends = torch.where(counts > size, (counts + size - 1).div(size, rounding_mode="floor"), 0).cumsum(0)
    most = 2 * len(weight) // (size + 1)  # of a feature that has size + 1 entries, and so two pieces
    sums = torch.empty(most, d, device=rows.device, dtype=torch.float32)
    if most:
        features = torch.searchsorted(ends, torch.arange(most, device=ends.device), right=True)  # n: no such piece
        block = min(BLOCK_D, triton.next_power_of_2(d))
        _sum_pieces[(most, triton.cdiv(d, block))](
            row, weight, rows, offsets, ends, features, sums, n, d,
            PIECE=size, ENTRIES=ENTRIES, BLOCK_D=block, num_warps=4,
        )  # fmt: skip
    return Pieces(ends, sums)


def rows_by_feature(
    weight: Float[Tensor, "nz"],
    rows: Float[Tensor, "batch d"],
    row: Int[Tensor, "nz"],
    offsets: Int[Tensor, "n_plus_1"],
    piece: int = PIECE,
) -> Float[Tensor, "n d"]:
    """out[i] = sum over e in offsets[i] : offsets[i + 1] of weight[e] * rows[row[e]], in fp32; `weight` by feature."""
    n, d = len(offsets) - 1, rows.shape[1]
    rows = rows.contiguous()
    pieces = sum_pieces(weight, rows, row, offsets, piece)
    out = torch.empty(n, d, device=rows.device, dtype=torch.float32)
    block = min(BLOCK_D, triton.next_power_of_2(d))
    _sum_features[(n, triton.cdiv(d, block))](
        row, weight, rows, offsets, pieces.ends, pieces.sums, out, d,
        PIECE=piece, ENTRIES=ENTRIES, BLOCK_D=block, num_warps=4,
    )  # fmt: skip
    return out
