"""In Triton: one program per row, everything in fp32 whatever the tensors hold.

The first sweep subtracts the active decoder rows from the target, a block of columns at a time, adds up the square and
stores the error. The second takes the dot products of the error with the same decoder rows, which the first has just
brought into L2 (k rows of d numbers: 48 to 512 KB per program at the sizes that matter). No atomics: the loss is one
number per row, summed in order afterwards.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from saelab.kernels.csc import Pattern

BLOCK_D = 512  # columns at a time; d may be anything


@triton.jit
@no_type_check
def _decode_loss(
    values, index, offsets, W_dec, bias, y, error, d_values, losses, scale, d, BLOCK_D: tl.constexpr
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)  # row * d may pass 2^31
    first = tl.load(offsets + row)
    last = tl.load(offsets + row + 1)
    loss = 0.0
    for start in range(0, d, BLOCK_D):
        column = start + tl.arange(0, BLOCK_D)
        inside = column < d
        residual = tl.load(y + row * d + column, mask=inside, other=0.0).to(tl.float32)
        residual -= tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
        for entry in range(first, last):
            feature = tl.load(index + entry).to(tl.int64)
            value = tl.load(values + entry).to(tl.float32)
            residual -= value * tl.load(W_dec + feature * d + column, mask=inside, other=0.0).to(tl.float32)
        loss += tl.sum(residual * residual, axis=0)
        tl.store(error + row * d + column, -2.0 * scale * residual, mask=inside)
    tl.store(losses + row, loss)
    tl.debug_barrier()  # what one thread stored above, another loads below
    for entry in range(first, last):
        feature = tl.load(index + entry).to(tl.int64)
        dot = 0.0
        for start in range(0, d, BLOCK_D):
            column = start + tl.arange(0, BLOCK_D)
            inside = column < d
            upstream = tl.load(error + row * d + column, mask=inside, other=0.0).to(tl.float32)
            weights = tl.load(W_dec + feature * d + column, mask=inside, other=0.0).to(tl.float32)
            dot += tl.sum(upstream * weights, axis=0)
        tl.store(d_values + entry, dot)


@torch.no_grad()
def decode_loss(
    values: Float[Tensor, "nz"],
    pattern: Pattern,
    W_dec: Float[Tensor, "d_sae d"],
    bias: Float[Tensor, "d"],
    y: Float[Tensor, "batch d"],
    scale: float,
) -> tuple[Float[Tensor, ""], Float[Tensor, "batch d"], Float[Tensor, "nz"]]:
    """(loss, d loss / d x_hat, d loss / d values), all in fp32."""
    rows, d = y.shape
    error = torch.empty(rows, d, device=y.device, dtype=torch.float32)
    d_values = torch.empty(len(values), device=y.device, dtype=torch.float32)
    losses = torch.empty(rows, device=y.device, dtype=torch.float32)
    block = min(BLOCK_D, triton.next_power_of_2(d))
    _decode_loss[(rows,)](
        values, pattern.index, pattern.offsets, W_dec, bias, y, error, d_values, losses, scale, d,
        BLOCK_D=block, num_warps=4,
    )  # fmt: skip
    return scale * losses.sum(), error, d_values
