"""Top-k of each row from a multiplication in Triton that never writes the pre-activations down.

A tile of pre-activations is compared with a guess of each row's threshold while it is still in registers, and what
exceeds it goes into the row's list with its feature. The guess may be any: a row with at least k values in a list that
has room for all of them is right whatever it was, and the others are computed again, all of them (row_select.py). Lists
fill up in any order; sorting them restores it, so the same inputs give the same bits. The caller keeps the guess from
one batch to the next.

Nothing calls this by default: cuBLAS and a pass over what it wrote may well be faster, and neither is measured yet.
"""

from dataclasses import dataclass
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from saelab.kernels.csc import Pattern
from saelab.kernels.encode_select.row_select import LARGEST, Kept, topk

BLOCK_ROWS, BLOCK_FEATURES, BLOCK_D = 128, 128, 64  # 64 fp32 sums a thread
ROOM = 4  # times k: values that a row's list holds
QUANTILE = 0.01  # of rows may have a k-th value below the guess
FORGET = 0.1  # weight of the newest batch
AFTER_ALL = tl.constexpr(0x7FFFFFFF << 32)  # behind every feature


@triton.jit
@no_type_check
def _block(rows, n, BLOCK_ROWS: tl.constexpr, BLOCK_FEATURES: tl.constexpr):
    """Which rows and features a program takes: sixteen blocks of rows go through all features together, so that what
    they read of either stays in L2."""
    row_blocks = tl.cdiv(rows, BLOCK_ROWS)
    together = 16 * tl.cdiv(n, BLOCK_FEATURES)
    first = tl.program_id(0) // together * 16
    number = tl.minimum(row_blocks - first, 16)
    within = tl.program_id(0) % together
    return first + within % number, within // number


@triton.jit
@no_type_check
def _note(pre, bias, thresholds, lists, counts, row, feature, rows, n, room):
    """Put what exceeds its row's threshold into the row's list, as far as there is room, and count it."""
    pre += tl.load(bias + feature, mask=feature < n, other=0.0).to(tl.float32)[None, :]
    threshold = tl.load(thresholds + row, mask=row < rows, other=0.0)
    inside = (row < rows)[:, None] & (feature < n)[None, :]
    passes = inside & ~(pre <= threshold[:, None])  # so what is not a number passes
    number = tl.sum(passes.to(tl.int32), axis=1)
    before = tl.atomic_add(counts + row, number, mask=(row < rows) & (number > 0))
    slot = before[:, None] + tl.cumsum(passes.to(tl.int32), axis=1) - 1
    key = tl.where(pre > 0, pre.to(tl.int32, bitcast=True), LARGEST)
    packed = (key.to(tl.int64) << 32) | (feature ^ LARGEST).to(tl.int64)[None, :]
    tl.store(lists + (row.to(tl.int64) * room)[:, None] + slot, packed, mask=passes & (slot < room))


@triton.jit
@no_type_check
def _emit(
    x, W, bias, thresholds, lists, counts, rows, n, d, room,
    BLOCK_ROWS: tl.constexpr, BLOCK_FEATURES: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    row_block, feature_block = _block(rows, n, BLOCK_ROWS, BLOCK_FEATURES)
    row = row_block * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    feature = feature_block * BLOCK_FEATURES + tl.arange(0, BLOCK_FEATURES)
    x_at = x + row.to(tl.int64)[:, None] * d  # may pass 2^31
    W_at = W + feature.to(tl.int64)[None, :] * d
    pre = tl.full((BLOCK_ROWS, BLOCK_FEATURES), 0.0, tl.float32)
    for start in range(0, d, BLOCK_D):
        column = start + tl.arange(0, BLOCK_D)
        some_x = tl.load(x_at + column[None, :], mask=(row < rows)[:, None] & (column < d)[None, :], other=0.0)
        some_W = tl.load(W_at + column[:, None], mask=(feature < n)[None, :] & (column < d)[:, None], other=0.0)
        pre = tl.dot(some_x, some_W, pre, input_precision="ieee")
    # Half a tile at a time: positions of all of it at once would not fit into the registers beside it.
    left, right = tl.split(tl.permute(tl.reshape(pre, (BLOCK_ROWS, 2, BLOCK_FEATURES // 2)), (0, 2, 1)))
    first = feature_block * BLOCK_FEATURES + tl.arange(0, BLOCK_FEATURES // 2)
    _note(left, bias, thresholds, lists, counts, row, first, rows, n, room)
    _note(right, bias, thresholds, lists, counts, row, first + BLOCK_FEATURES // 2, rows, n, room)


@triton.jit
@no_type_check
def _select(
    thresholds, lists, found, values, features, counts, k, room, ROOM: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    number = tl.load(found + row)
    complete = tl.load(thresholds + row) <= 0  # then all positive values are there, be they fewer than k
    if (number <= room) & ((number >= k) | complete):
        lane = tl.arange(0, ROOM)
        ranked = tl.sort(tl.load(lists + row * room + lane, mask=lane < number, other=0), descending=True)
        kept = lane < tl.minimum(k, number)
        feature = (ranked & LARGEST) ^ LARGEST
        best = tl.sort(tl.where(kept, (feature << 32) | (ranked >> 32), AFTER_ALL))
        tl.store(values + row * k + lane, (best & LARGEST).to(tl.int32).to(tl.float32, bitcast=True), mask=kept)
        tl.store(features + row * k + lane, best >> 32, mask=kept)
        tl.store(counts + row, tl.minimum(k, number))
    else:
        tl.store(counts + row, -1)


@dataclass
class Guess:
    """How large a row's k-th largest pre-activation is, in units of |x|: a low quantile, running; at first anything."""

    ratio: Float[Tensor, ""] | None = None

    def thresholds(self, lengths: Float[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """What nearly all rows of these lengths have k values above; 0 at first."""
        return torch.zeros_like(lengths) if self.ratio is None else (self.ratio * lengths).nan_to_num(nan=0.0)

    def learn(self, kept: Kept, lengths: Float[Tensor, "batch"]) -> None:
        """Take what a batch has shown into account."""
        k = kept.values.shape[1]
        least = torch.where(kept.counts < k, 0, kept.values.amin(dim=1))
        ratio = (least / lengths).nan_to_num(nan=torch.inf)
        low = ratio.kthvalue(1 + int(QUANTILE * (len(ratio) - 1))).values.nan_to_num(posinf=0.0)
        self.ratio = low if self.ratio is None else self.ratio.lerp(low, FORGET)


@torch.no_grad()
def topk_emitting(
    x: Float[Tensor, "batch d_in"],
    W_enc: Float[Tensor, "d_in d_sae"],
    b_enc: Float[Tensor, "d_sae"],
    k: int,
    guess: Guess,
) -> tuple[Float[Tensor, "nz"], Pattern]:
    """The k largest positive pre-activations of each row; among equals the lowest feature is kept.

    The device is asked twice: for which rows the guess was wrong, and how many values there are.
    """
    k = min(k, len(b_enc))
    lengths = torch.linalg.vector_norm(x, dim=1, dtype=torch.float32)
    thresholds = guess.thresholds(lengths)
    kept = _selected(x, W_enc, b_enc, thresholds, k)
    again = (kept.counts < 0).nonzero().squeeze(1)
    if len(again):
        for part, exact in zip(kept, topk(x[again], W_enc, b_enc, k), strict=True):
            part[again] = exact
    guess.learn(kept, lengths)
    return kept.packed(len(b_enc))


def _selected(x: Tensor, W_enc: Tensor, b_enc: Tensor, thresholds: Float[Tensor, "batch"], k: int) -> Kept:
    """What is kept of each row; counts of -1 where its list is too short or ran over."""
    rows, d = x.shape
    n = len(b_enc)
    room = triton.next_power_of_2(ROOM * k)
    lists = torch.empty(rows, room, device=x.device, dtype=torch.int64)  # key << 32 | what feature lacks to LARGEST
    found = torch.zeros(rows, device=x.device, dtype=torch.int32)
    kept = Kept.empty(rows, k, x.device)
    _emit[(triton.cdiv(rows, BLOCK_ROWS) * triton.cdiv(n, BLOCK_FEATURES),)](
        x, W_enc.t(), b_enc.contiguous(), thresholds, lists, found, rows, n, d, room,
        BLOCK_ROWS=BLOCK_ROWS, BLOCK_FEATURES=BLOCK_FEATURES, BLOCK_D=BLOCK_D, num_warps=8, num_stages=3,
    )  # fmt: skip
    _select[(rows,)](thresholds, lists, found, *kept, k, room, ROOM=room, num_warps=max(1, room // 256))
    return kept
