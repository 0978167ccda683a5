"""In Triton: one program per row, everything in fp32 whatever the tensors hold.

The first sweep subtracts the active decoder rows from the target level by level, a block of columns at a time. After
each level the residual is the one of that level's code: its square is added up and its share of the error stored. Then
the shares are added up from the last level to the first. The second sweep takes the dot products of each level's error
with the same decoder rows, which the first has just brought into L2. No atomics: the losses are M numbers per row,
summed in order afterwards.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from saelab.kernels.csc import Pattern
from saelab.kernels.nested_loss.walk import Walk

BLOCK_D = 512  # columns at a time; d may be anything


@triton.jit
@no_type_check
def _nested_loss(
    values, index, bounds, weights, W_dec, bias, y, error, d_values, losses, scale, M, d,
    BLOCK_M: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)  # row * M * d may pass 2^31
    slot = tl.arange(0, BLOCK_M)
    loss = tl.zeros((BLOCK_M,), dtype=tl.float32)
    for start in range(0, d, BLOCK_D):
        column = start + tl.arange(0, BLOCK_D)
        inside = column < d
        residual = tl.load(y + row * d + column, mask=inside, other=0.0).to(tl.float32)
        residual -= tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
        for level in range(0, M):
            cell = row * M + level
            for entry in range(tl.load(bounds + cell), tl.load(bounds + cell + 1)):
                feature = tl.load(index + entry).to(tl.int64)
                value = tl.load(values + entry).to(tl.float32)
                residual -= value * tl.load(W_dec + feature * d + column, mask=inside, other=0.0).to(tl.float32)
            loss += tl.where(slot == level, tl.sum(residual * residual, axis=0), 0.0)
            weight = tl.load(weights + level).to(tl.float32)
            tl.store(error + cell * d + column, -2.0 * scale * weight * residual, mask=inside)
        tl.debug_barrier()  # what one thread stored above, another loads below
        suffix = tl.zeros((BLOCK_D,), dtype=tl.float32)
        for step in range(0, M):
            cell = row * M + (M - 1 - step)
            suffix += tl.load(error + cell * d + column, mask=inside, other=0.0)
            tl.debug_barrier()  # where d is small, threads load what another one is about to overwrite
            tl.store(error + cell * d + column, suffix, mask=inside)
    tl.store(losses + slot.to(tl.int64) * tl.num_programs(0) + row, loss, mask=slot < M)
    tl.debug_barrier()  # the same again
    for level in range(0, M):
        cell = row * M + level
        for entry in range(tl.load(bounds + cell), tl.load(bounds + cell + 1)):
            feature = tl.load(index + entry).to(tl.int64)
            dot = 0.0
            for start in range(0, d, BLOCK_D):
                column = start + tl.arange(0, BLOCK_D)
                inside = column < d
                upstream = tl.load(error + cell * d + column, mask=inside, other=0.0)
                decoder = tl.load(W_dec + feature * d + column, mask=inside, other=0.0).to(tl.float32)
                dot += tl.sum(upstream * decoder, axis=0)
            tl.store(d_values + entry, dot)


@torch.no_grad()
def nested_loss(
    values: Float[Tensor, "nz"],
    pattern: Pattern,
    level: Int[Tensor, "nz"],
    weights: Float[Tensor, "M"],
    W_dec: Float[Tensor, "d_sae d"],
    bias: Float[Tensor, "d"],
    y: Float[Tensor, "batch d"],
    scale: float,
) -> tuple[Float[Tensor, ""], Float[Tensor, "M"], Float[Tensor, "batch M d"], Float[Tensor, "nz"]]:
    """(loss, loss of each code, d loss / d what each level adds, d loss / d values), all in fp32."""
    (rows, d), M = y.shape, len(weights)
    walk = Walk.of(pattern, level, M)
    error = torch.empty(rows, M, d, device=y.device, dtype=torch.float32)
    d_values = torch.empty(len(values), device=y.device, dtype=torch.float32)
    squares = torch.empty(M, rows, device=y.device, dtype=torch.float32)
    _nested_loss[(rows,)](
        walk.into(values), walk.index, walk.bounds, weights, W_dec, bias, y, error, d_values, squares, scale, M, d,
        BLOCK_M=triton.next_power_of_2(M), BLOCK_D=min(BLOCK_D, triton.next_power_of_2(d)), num_warps=4,
    )  # fmt: skip
    losses = scale * squares.sum(dim=1)
    return (weights.float() * losses).sum(), losses, error, walk.back(d_values)
