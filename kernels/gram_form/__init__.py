"""The squared length of a sum of products of vectors, without the d x d matrix that the sum is.

    X_b  = sum_j g_bj l_j r_j^T                                      [d, d], never built
    form = sum_b |X_b|^2 = sum_ij S_ij G_ij,   S = g^T g,   G_ij = (l_i . l_j)(r_i . r_j)

With `weight` c, descending, sum_ij S_ij c_max(i, j) G_ij instead. For c_i = (n - i) / n, i from 0, that is the mean
over all p of the squared length of the sum of the first p terms, as terms i and j stand together in n - max(i, j) of
the n prefixes. It costs batch n^2 + 2 d n^2 products of two numbers; to build every X_b would cost batch n d^2.

Dooms and Gauderis 2025, "Finding manifolds with bilinear autoencoders": the kernel trick.
"""

from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from saelab.kernels.backend import backend
from saelab.kernels.gram_form import cpu, reference


def gram_form(
    g: Float[Tensor, "batch n"],
    left: Float[Tensor, "n d"],
    right: Float[Tensor, "n d"],
    weight: Float[Tensor, "n"] | None = None,
) -> Float[Tensor, ""]:
    """See the module; differentiable in all but `weight`."""
    if not torch.is_grad_enabled():
        return _implementation(g).gram_form(g, left, right, weight, False)[0]
    return _GramForm.apply(g, left, right, weight)


def _implementation(like: Tensor) -> ModuleType:
    return reference if backend(like) == "reference" else cpu


class _GramForm(torch.autograd.Function):
    """Value and gradients come from one walk over the tiles of S and G, so no tile is made twice."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, left: Tensor, right: Tensor, weight: Tensor | None) -> Tensor:
        form, *gradients = _implementation(g).gram_form(g, left, right, weight, True)
        ctx.save_for_backward(*gradients)
        return form

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return *(upstream * gradient for gradient in ctx.saved_tensors), None
