"""Decode, loss and both gradients that a training step needs, from one walk over the active entries.

    r    = y - bias - f W_dec                     the residual of each row
    loss = scale * sum over rows of |r|^2
    error     = d loss / d x_hat = -2 scale r     [batch, d]
    d_values  = d loss / d f at the active entries = <error[row of e], W_dec[index of e]>

`loss` is known to be the end of the chain, so its gradient is made in the forward pass: x_hat is never stored, and the
decoder rows that decoding fetched are used again while they are near. The gradient of W_dec is
`pattern.csc.rows_by_feature(f, error)`, that of the bias the sum of `error` over the rows. A transcoder passes what it
predicts as y; one with a skip connection passes y - W_skip x, and gets d W_skip = error^T x.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from saelab.kernels.backend import backend
from saelab.kernels.csc import Pattern
from saelab.kernels.decode_loss import cpu, reference
from saelab.kernels.deferred import RowSum, current, deferred_or_whole


class DecodeLoss(NamedTuple):
    """The loss, and its gradients in the reproduction and in the activations."""

    loss: Float[Tensor, ""]
    error: Float[Tensor, "batch d"]
    d_values: Float[Tensor, "nz"]


def decode_loss(
    values: Float[Tensor, "nz"],
    pattern: Pattern,
    W_dec: Float[Tensor, "d_sae d"],
    bias: Float[Tensor, "d"],
    y: Float[Tensor, "batch d"],
    scale: float,
) -> DecodeLoss:
    """See the module. Tensors contiguous, of one dtype, on one device. Raises ValueError where they do not fit."""
    _require_fit(values, pattern, W_dec, bias, y)
    if backend(y) == "triton":
        from saelab.kernels.decode_loss import fused

        return DecodeLoss(*fused.decode_loss(values, pattern, W_dec, bias, y, scale))
    plain = reference if backend(y) == "reference" else cpu
    return DecodeLoss(*plain.decode_loss(values, pattern, W_dec, bias, y, scale))


class Reconstruction(torch.autograd.Function):
    """The loss of `decode_loss`, differentiable in values, W_dec, bias and y; and `error`, which is not."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, W_dec: Tensor, bias: Tensor, y: Tensor, pattern: Pattern, scale: float
    ) -> tuple[Tensor, Tensor]:
        loss, error, d_values = decode_loss(values, pattern, W_dec, bias, y, scale)
        ctx.save_for_backward(values, error, d_values)
        ctx.pattern, ctx.deferred, ctx.W_dec = pattern, current(), W_dec.detach()
        ctx.mark_non_differentiable(error)
        return loss, error

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        values, error, d_values = ctx.saved_tensors
        needs_values, needs_W, needs_bias, needs_y = ctx.needs_input_grad[:4]
        d_W_dec = None
        if needs_W:
            part = RowSum(ctx.pattern.csc, upstream * values, error, d_values)
            d_W_dec = deferred_or_whole(ctx.deferred, ctx.W_dec, part)
        return (
            upstream * d_values if needs_values else None,
            d_W_dec,
            upstream * error.sum(dim=0) if needs_bias else None,
            -upstream * error if needs_y else None,
            None,
            None,
        )


def _require_fit(values: Tensor, pattern: Pattern, W_dec: Tensor, bias: Tensor, y: Tensor) -> None:
    found = (len(values), len(W_dec), W_dec.shape[1], len(bias), len(y))
    wanted = (len(pattern.index), pattern.n, y.shape[1], y.shape[1], pattern.n_rows)
    if found != wanted:
        raise ValueError(
            f"values, W_dec rows, W_dec width, bias, rows of y are {found}; the pattern and y ask {wanted}"
        )
    for name, tensor in {"values": values, "W_dec": W_dec, "bias": bias, "y": y}.items():
        if not tensor.is_contiguous():
            raise ValueError(f"{name} has strides {tensor.stride()}: it must be contiguous")
