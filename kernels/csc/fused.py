"""Sums by feature in Triton: each weight gradient from the entries sorted by feature.

A feature's entries are summed in pieces of at most PIECE, each by a program of its own, so that a feature that fires on
every row of a batch does not keep one program busy while all others have ended. A feature of one piece is written at
once; the pieces of the others go into a workspace and are added up in order by a second launch. No atomics: the same
inputs give the same bits. How many pieces there are is not asked of the device: as many programs are launched as there
may be, and those without a piece end at once.
"""

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

PIECE = 128  # entries
BLOCK_D = 512


@triton.jit
def _sum_pieces(
    row, weight, rows, starts, ends, features, slots, out, parts, pieces, d, BLOCK_D: tl.constexpr
):  # fmt: skip
    piece = tl.program_id(0)
    column = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    inside = column < d
    if piece < tl.load(pieces):
        total = tl.zeros((BLOCK_D,), dtype=tl.float32)
        for entry in range(tl.load(starts + piece), tl.load(ends + piece)):
            place = tl.load(row + entry).to(tl.int64) * d  # may pass 2^31
            total += tl.load(weight + entry).to(tl.float32) * tl.load(rows + place + column, mask=inside, other=0.0).to(
                tl.float32
            )
        slot = tl.load(slots + piece).to(tl.int64)
        feature = tl.load(features + piece).to(tl.int64)
        if slot < 0:
            tl.store(out + feature * d + column, total, mask=inside)
        else:
            tl.store(parts + slot * d + column, total, mask=inside)


@triton.jit
def _add_pieces(parts, first_slot, counts, out, d, BLOCK_D: tl.constexpr):
    feature = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    inside = column < d
    count = tl.load(counts + feature)
    if count > 1:
        total = tl.zeros((BLOCK_D,), dtype=tl.float32)
        first = tl.load(first_slot + feature).to(tl.int64)
        for slot in range(first, first + count):
            total += tl.load(parts + slot * d + column, mask=inside, other=0.0)
        tl.store(out + feature * d + column, total, mask=inside)


def rows_by_feature(
    weight: Float[Tensor, "nz"],
    rows: Float[Tensor, "batch d"],
    row: Int[Tensor, "nz"],
    offsets: Int[Tensor, "n_plus_1"],
    piece: int = PIECE,
) -> Float[Tensor, "n d"]:
    """out[i] = sum over e in offsets[i] : offsets[i + 1] of weight[e] * rows[row[e]], in fp32; `weight` by feature."""
    n, d = len(offsets) - 1, rows.shape[1]
    out = torch.empty(n, d, device=rows.device, dtype=torch.float32)
    counts = (offsets.diff() + piece - 1).div(piece, rounding_mode="floor").clamp_min(1)  # pieces of each feature
    ends = counts.cumsum(0)
    many = torch.where(counts > 1, counts, 0)  # pieces that go through the workspace
    first_slot = many.cumsum(0) - many
    most, most_slots = n + len(weight) // piece, max(1, 2 * (len(weight) // piece))
    number = torch.arange(most, device=rows.device)
    feature = torch.searchsorted(ends, number, right=True).clamp_max(n - 1)
    nth = number - (ends - counts)[feature]
    start = offsets[feature] + nth * piece
    end = torch.minimum(start + piece, offsets[feature + 1])
    slot = torch.where(counts[feature] > 1, first_slot[feature] + nth, -1)
    parts = torch.empty(most_slots, d, device=rows.device, dtype=torch.float32)
    block = min(BLOCK_D, triton.next_power_of_2(d))
    columns = triton.cdiv(d, block)
    _sum_pieces[(most, columns)](
        row, weight, rows, start, end, feature, slot, out, parts, ends[-1:], d, BLOCK_D=block, num_warps=4
    )
    _add_pieces[(n, columns)](parts, first_slot, counts, out, d, BLOCK_D=block, num_warps=4)
    return out
