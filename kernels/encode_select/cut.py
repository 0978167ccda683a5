"""The k-th largest of a million keys in three passes, in Triton, and without asking the device anything.

Each pass counts the keys of an interval in 2048 bins and narrows the interval to the bin that holds the k-th largest.
The first interval is that of the keys at hand: counted by their leading bits, candidates above a common bound would all
fall into a few bins, and wait for each other at their counters. Counters are integers, so the order of the additions
does not matter.
"""

from typing import NamedTuple, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Int
from torch import Tensor

BITS = 11
PASSES = 3  # keys have 31 bits
BLOCK = 1024


@triton.jit
@no_type_check
def _begin(least, most, state, counts, BINS: tl.constexpr):
    """`state`: where the interval begins, its width, a bin's width as a power of 2, how many keys are beyond it."""
    low = tl.load(least)
    span = tl.load(most) - low
    shift = 0
    while (span >> shift) >= BINS:
        shift += 1
    tl.store(state, low)
    tl.store(state + 1, span + 1)
    tl.store(state + 2, shift)
    tl.store(state + 3, 0)
    tl.store(counts + tl.arange(0, BINS), tl.full((BINS,), 0, tl.int32))


@triton.jit
@no_type_check
def _histogram(keys, number, state, counts, BLOCK: tl.constexpr):
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    offset = tl.load(keys + lane, mask=lane < number, other=0) - tl.load(state)
    own = (lane < number) & (offset >= 0) & (offset < tl.load(state + 1))
    tl.atomic_add(counts + (offset >> tl.load(state + 2)), 1, mask=own)


@triton.jit
@no_type_check
def _narrow(state, counts, k, BINS: tl.constexpr, BITS: tl.constexpr):
    """From the interval to the bin of the k-th largest."""
    low = tl.load(state)
    shift = tl.load(state + 2)
    above = tl.load(state + 3)
    bin = tl.arange(0, BINS)
    own = tl.load(counts + bin)
    beyond = above + tl.sum(own, axis=0) - tl.cumsum(own, axis=0)  # keys in higher bins than this one
    hit = (beyond < k).to(tl.int32)  # in the bin of the k-th and all higher ones
    tl.store(state, low + ((BINS - tl.sum(hit, axis=0)) << shift))
    tl.store(state + 1, 1 << shift)
    tl.store(state + 2, tl.maximum(shift - BITS, 0))
    tl.store(state + 3, tl.max(hit * beyond, axis=0))
    tl.store(counts + bin, tl.full((BINS,), 0, tl.int32))


class Cut(NamedTuple):
    """The k-th largest key, and how many are above it."""

    key: Int[Tensor, "1"]
    above: Int[Tensor, "1"]


def cut_of(keys: Int[Tensor, "m"], k: int) -> Cut:
    """The k-th largest of positive int32 keys, for k from 1 to their number."""
    state = torch.empty(4, device=keys.device, dtype=torch.int32)
    counts = torch.empty(1 << BITS, device=keys.device, dtype=torch.int32)
    _begin[(1,)](*torch.aminmax(keys), state, counts, BINS=1 << BITS, num_warps=4)
    for _ in range(PASSES):
        _histogram[(triton.cdiv(len(keys), BLOCK),)](keys, len(keys), state, counts, BLOCK=BLOCK, num_warps=4)
        _narrow[(1,)](state, counts, k, BINS=1 << BITS, BITS=BITS, num_warps=4)
    return Cut(state[:1], state[3:])
