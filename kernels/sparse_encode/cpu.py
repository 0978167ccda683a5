"""Sparse encode on the CPU: chunked GEMM forward, gradients from the selected entries alone.

With g[e] the gradient of the pre-activation at entry e, and s[i] the sum of g over the entries of feature i:

    d W_enc[:, i] = sum over entries e of i of g[e] (x[row] - centre)       d b_enc = s
    d x[b]        = sum over entries e of b of g[e] W_enc[:, index]         d centre = -W_enc s

The last line is why a trainable centre is cheap: autograd would form the whole of d x (a sixth GEMM per step in a dense
SAE) only to add it up.
"""

import threading
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from saelab.kernels.csc.cpu import bag

# Bytes of pre-activations that exist at once. Every chunk packs W_enc anew: at d=576, n=9216 a batch of 2048 takes
# 338 ms in chunks of 512 rows, 270 to 330 ms in chunks of 1024 or whole (two shared cores).
CHUNK_BYTES = 64 << 20


class SparseEncode(torch.autograd.Function):
    """Hands `values` on and gives them the gradients of the pre-activations they are."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        """Inputs: x, centre, W_enc, b_enc (these four get gradients), x - centre, values, pattern."""
        W_enc, _, centred, values, pattern = inputs[2:]
        ctx.save_for_backward(W_enc, centred)
        ctx.pattern = pattern
        return values.view_as(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        W_enc, centred = ctx.saved_tensors
        needs_x, needs_centre, needs_W, needs_b = ctx.needs_input_grad[:4]
        pattern, gradient = ctx.pattern, gradient.contiguous()
        summed = pattern.csc.by_feature(gradient) if needs_centre or needs_b else None
        d_x = bag(pattern.index, pattern.offsets, W_enc.t(), gradient) if needs_x else None
        d_centre = -(W_enc @ summed) if needs_centre else None
        d_W = pattern.csc.rows_by_feature(gradient, centred).t() if needs_W else None
        return d_x, d_centre, d_W, summed if needs_b else None, None, None, None


class Workspace(threading.local):
    """One buffer per thread, device and dtype, kept between calls: fresh memory costs a page fault every 4 KB."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def take(self, rows: int, columns: int, like: Tensor) -> Tensor:
        """A [rows, columns] view of the buffer. It holds anything, and is overwritten by the next caller."""
        key = (like.device, like.dtype)
        if key not in self._buffers or self._buffers[key].numel() < rows * columns:
            with torch.inference_mode(False):  # born inside, it could never be written outside
                self._buffers[key] = torch.empty(rows * columns, device=like.device, dtype=like.dtype)
        return self._buffers[key][: rows * columns].view(rows, columns)


_workspace = Workspace()


def chunks(
    x: Float[Tensor, "batch d_in"], W_enc: Float[Tensor, "d_in d_sae"], b_enc: Float[Tensor, "d_sae"]
) -> Iterator[Tensor]:
    """x W_enc + b_enc, some rows at a time and in order; each chunk is overwritten when the next is asked for."""
    parts = max(1, -(-len(x) * len(b_enc) * x.element_size() // CHUNK_BYTES))
    rows = max(1, -(-len(x) // parts))
    buffer = _workspace.take(rows, len(b_enc), x)
    for part in x.split(rows):
        yield torch.addmm(b_enc, part, W_enc, out=buffer[: len(part)])
