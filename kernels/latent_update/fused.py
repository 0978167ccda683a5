"""In Triton: one program per feature, in fp32 whatever the tensors hold; weights and moments are read and written once.

A program holds its feature's whole row, because `unit` asks for its length: a block of next_power_of_2(d) columns, up
to MAX_WIDTH, where a block of threads runs out of registers. Features with many entries are summed in pieces first
(csc/fused.py). The program takes one part of each kind, which is what training brings; further ones are added up
beforehand, written out. No atomics: the same inputs give the same bits.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from saelab.kernels.backend import KernelError
from saelab.kernels.csc.fused import PIECE, sum_of_feature, sum_pieces
from saelab.kernels.deferred import Part, Rows, RowSum, Whole
from saelab.kernels.latent_update.adam import AdamStep

MAX_WIDTH = 16384  # columns: 32 warps, 16 columns a thread, of which it holds weights, two moments and the gradient


@triton.jit
@no_type_check
def _update(
    W, m, v, row, weight, rows, offsets, ends, sums, slot, some, whole,
    beta1, rest1, beta2, rest2, rate, shrink, eps, d,
    UNIT: tl.constexpr, PIECE: tl.constexpr, ENTRIES: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    feature = tl.program_id(0)
    column = tl.arange(0, BLOCK_D)
    inside = column < d
    own = feature.to(tl.int64) * d + column  # may pass 2^31
    g = tl.full((BLOCK_D,), 0.0, tl.float32)
    if rows is not None:
        g += sum_of_feature(feature, row, weight, rows, offsets, ends, sums, column, d, PIECE, ENTRIES, BLOCK_D)
    if some is not None:
        at = tl.load(slot + feature).to(tl.int64)
        if at >= 0:
            g += tl.load(some + at * d + column, mask=inside, other=0.0).to(tl.float32)
    if whole is not None:
        g += tl.load(whole + own, mask=inside, other=0.0).to(tl.float32)
    w = tl.load(W + own, mask=inside, other=0.0).to(tl.float32)
    if UNIT:
        g -= tl.sum(g * w, axis=0) * w
    mean = beta1 * tl.load(m + own, mask=inside, other=0.0).to(tl.float32) + rest1 * g
    square = beta2 * tl.load(v + own, mask=inside, other=0.0).to(tl.float32) + rest2 * g * g
    w -= rate * mean / (tl.sqrt(square) * shrink + eps)
    if UNIT:
        w /= tl.sqrt(tl.sum(tl.where(inside, w * w, 0.0), axis=0))
    tl.store(m + own, mean, mask=inside)
    tl.store(v + own, square, mask=inside)
    tl.store(W + own, w, mask=inside)


@torch.no_grad()
def latent_update(
    W: Float[Tensor, "n d"],
    m: Float[Tensor, "n d"],
    v: Float[Tensor, "n d"],
    gradient: Sequence[Part],
    adam: AdamStep,
    unit: bool,
) -> None:
    """Change W, m and v in place. Raises KernelError for rows wider than MAX_WIDTH, ValueError for parts unlike W."""
    n, d = W.shape
    if d > MAX_WIDTH:
        raise KernelError(
            f"rows of {d} numbers, but a Triton program holds {MAX_WIDTH} at most.\n"
            f"  fix:   SAELAB_KERNELS=cpu, which runs PyTorch ops on the GPU"
        )
    block = max(16, triton.next_power_of_2(d))
    _update[(n,)](
        W, m, v, **_by_kind(gradient, n, d), **_scalars(adam), d=d, UNIT=unit, PIECE=PIECE,
        ENTRIES=min(4, MAX_WIDTH // block), BLOCK_D=block, num_warps=min(32, max(1, block // 256)),
    )  # fmt: skip


def _scalars(adam: AdamStep) -> dict[str, float]:
    """What the kernel multiplies by, made in double precision: 1 - beta2 in single is off by 1e-5 of itself."""
    return {
        "beta1": float(adam.beta1),
        "rest1": 1.0 - adam.beta1,
        "beta2": float(adam.beta2),
        "rest2": 1.0 - adam.beta2,
        "rate": adam.lr / (1.0 - adam.beta1**adam.number),
        "shrink": (1.0 - adam.beta2**adam.number) ** -0.5,
        "eps": float(adam.eps),
    }


def _by_kind(gradient: Sequence[Part], n: int, d: int) -> dict[str, Any]:
    """One part of each kind as arguments of the kernel, None where there is none."""
    sums = [part for part in gradient if isinstance(part, RowSum)]
    some = [part for part in gradient if isinstance(part, Rows)]
    rest = [part for part in gradient if isinstance(part, Whole)]
    written = [part.whole(n) for part in (*rest, *sums[1:], *some[1:])]
    whole = reduce(torch.add, written).contiguous() if written else None
    arguments = {"whole": whole, **_row_sum(sums[0] if sums else None), **_some_rows(some[0] if some else None, n)}
    _require_fit(arguments, n, d)
    return arguments


def _row_sum(part: RowSum | None) -> dict[str, Tensor | None]:
    if part is None:
        return dict.fromkeys(("row", "weight", "rows", "offsets", "ends", "sums"))
    weight, rows, csc = part.weight[part.csc.order], part.rows.contiguous(), part.csc
    pieces = sum_pieces(weight, rows, csc.row, csc.offsets)
    return {"row": csc.row, "weight": weight, "rows": rows, "offsets": csc.offsets, **pieces._asdict()}


def _some_rows(part: Rows | None, n: int) -> dict[str, Tensor | None]:
    """The rows, and where among them a feature's is: -1 for none."""
    if part is None:
        return {"slot": None, "some": None}
    return {"slot": _slots(part.index, n), "some": part.rows.contiguous()}


def _slots(index: Int[Tensor, "m"], n: int) -> Int[Tensor, "n"]:
    slot = torch.full((n,), -1, device=index.device, dtype=torch.int32)
    slot[index] = torch.arange(len(index), device=index.device, dtype=torch.int32)
    return slot


def _require_fit(arguments: dict[str, Any], n: int, d: int) -> None:
    for name, wanted in {"offsets": (n + 1,), "whole": (n, d)}.items():
        tensor = arguments[name]
        if tensor is not None and tensor.shape != wanted:
            raise ValueError(f"{name} of the gradient has shape {tuple(tensor.shape)}; W asks {wanted}")
    for name in ("rows", "some"):
        tensor = arguments[name]
        if tensor is not None and tensor.shape[1] != d:
            raise ValueError(f"{name} of the gradient are {tensor.shape[1]} wide, W is {d}")
