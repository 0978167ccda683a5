"""The losses of nested codes, and every gradient of theirs, from one walk over the active entries.

Code m of M holds what code m - 1 holds, and more; the level of an entry is the first code that it is in.

    r_m      = y - bias - sum over the entries e with level(e) <= m of values[e] W_dec[index of e]       [batch, d]
    losses_m = scale * sum over rows of |r_m|^2
    loss     = sum over m of weights_m * losses_m
    error_l  = sum over m >= l of weights_m * (-2 scale r_m)                                             [batch, M, d]
    d_values = <error[row of e, level(e)], W_dec[index of e]>

An entry moves every residual from its level on, so error_l, the suffix sum, is the gradient in what level l adds. It
also makes the other gradients: of W_dec[i], the sum over i's entries of values[e] error[row of e, level(e)]; of the
bias, the sum of error_0 over the rows; of y, -error_0. Each entry is fetched once, as in `decode_loss`, which this is
for M = 1 and weight 1; decoding code after code fetches the first level's entries M times. What it costs is `error`,
batch x M x d numbers.

Matryoshka: code m is the features below n_m, for prefixes n_1 < ... < n_M (`prefix_levels`). Bussmann et al. 2025,
"Learning Multi-Level Features with Matryoshka Sparse Autoencoders", arXiv 2503.17547: loss = sum over m of
|x - x_hat_m|^2. HierarchicalTopK: code m is the k_m largest activations of each row, for budgets k_1 < ... < k_M
(`budget_levels`). Balagansky et al. 2025, "Train One Sparse Autoencoder Across Multiple Sparsity Budgets to Preserve
Interpretability and Accuracy", arXiv 2505.24473 (its kernels: flex-sae): loss = mean over m of |x - x_hat_m|^2.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from saelab.kernels.backend import backend
from saelab.kernels.csc import Csc, Pattern
from saelab.kernels.deferred import RowSum, current, deferred_or_whole
from saelab.kernels.nested_loss import cpu, reference
from saelab.kernels.nested_loss.levels import budget_levels, prefix_levels
from saelab.kernels.nested_loss.walk import cell_of

__all__ = ["NestedLoss", "NestedReconstruction", "budget_levels", "nested_loss", "prefix_levels"]


class NestedLoss(NamedTuple):
    """The loss, that of each code before weighting, and the gradients in what a level adds and in the activations."""

    loss: Float[Tensor, ""]
    losses: Float[Tensor, "M"]
    error: Float[Tensor, "batch M d"]
    d_values: Float[Tensor, "nz"]


def nested_loss(
    values: Float[Tensor, "nz"],
    pattern: Pattern,
    level: Int[Tensor, "nz"],
    weights: Float[Tensor, "M"],
    W_dec: Float[Tensor, "d_sae d"],
    bias: Float[Tensor, "d"],
    y: Float[Tensor, "batch d"],
    scale: float,
) -> NestedLoss:
    """See the module. Levels count from 0, in any order within a row; entries that ascend in level need no sort.

    Tensors contiguous, of one dtype, on one device. Raises ValueError where they do not fit, or a level has no weight.
    """
    _require_fit(values, pattern, level, weights, W_dec, bias, y)
    if backend(y) == "triton":
        from saelab.kernels.nested_loss import fused

        return NestedLoss(*fused.nested_loss(values, pattern, level, weights, W_dec, bias, y, scale))
    plain = reference if backend(y) == "reference" else cpu
    return NestedLoss(*plain.nested_loss(values, pattern, level, weights, W_dec, bias, y, scale))


class NestedReconstruction(torch.autograd.Function):
    """The loss of `nested_loss`, differentiable in values, W_dec, bias, y and weights; `losses` and `error` are not."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, W_dec: Tensor, bias: Tensor, y: Tensor, weights: Tensor,
        pattern: Pattern, level: Tensor, scale: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        loss, losses, error, d_values = nested_loss(values, pattern, level, weights, W_dec, bias, y, scale)
        ctx.save_for_backward(values, level, losses, error, d_values)
        ctx.pattern, ctx.deferred, ctx.W_dec = pattern, current(), W_dec.detach()
        ctx.mark_non_differentiable(losses, error)
        return loss, losses, error

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        values, level, losses, error, d_values = ctx.saved_tensors
        needs_values, needs_W, needs_bias, needs_y, needs_weights = ctx.needs_input_grad[:5]
        d_W_dec = None
        if needs_W:
            part = RowSum(_by_cell(ctx.pattern, level, error.shape[1]), upstream * values, error.flatten(0, 1))
            d_W_dec = deferred_or_whole(ctx.deferred, ctx.W_dec, part)
        return (
            upstream * d_values if needs_values else None,
            d_W_dec,
            upstream * error[:, 0].sum(dim=0) if needs_bias else None,
            -upstream * error[:, 0] if needs_y else None,
            upstream * losses if needs_weights else None,
            None,
            None,
            None,
        )


def _by_cell(pattern: Pattern, level: Tensor, M: int) -> Csc:
    """The entries by feature, each pointing at the row of `error.flatten(0, 1)` that it reads."""
    csc = pattern.csc
    return Csc(csc.order, cell_of(pattern, level, M)[csc.order], csc.offsets)


def _require_fit(
    values: Tensor, pattern: Pattern, level: Tensor, weights: Tensor, W_dec: Tensor, bias: Tensor, y: Tensor
) -> None:
    found = (len(values), len(level), len(W_dec), W_dec.shape[1], len(bias), len(y))
    nz, d = len(pattern.index), y.shape[1]
    wanted = (nz, nz, pattern.n, d, d, pattern.n_rows)
    if found != wanted:
        raise ValueError(
            f"values, level, W_dec rows, W_dec width, bias, rows of y are {found}; the pattern and y ask {wanted}"
        )
    for name, tensor in {"values": values, "weights": weights, "W_dec": W_dec, "bias": bias, "y": y}.items():
        if not tensor.is_contiguous():
            raise ValueError(f"{name} has strides {tensor.stride()}: it must be contiguous")
    _require_weights(level, len(weights))


def _require_weights(level: Tensor, M: int) -> None:
    """An entry of a level without a weight would be walked by no program, and its gradient be whatever memory held."""
    first, last = torch.stack(level.aminmax()).tolist() if len(level) else (0, 0)
    if first < 0 or last >= M:
        raise ValueError(
            f"levels run from {first} to {last}, and there are {M} weights, for levels from 0 to {M - 1}.\n"
            "  fix:   as many weights as prefixes or budgets, of which the last takes in every entry"
        )
