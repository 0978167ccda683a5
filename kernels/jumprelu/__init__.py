"""JumpReLU and the step it counts by, with the gradients of both smoothed by a rectangle of width eps.

    jumprelu(pre) = pre 1[pre > theta]        d / d pre  = 1[pre > theta]
                                              d / d theta = -(theta / eps) 1[|pre - theta| < eps / 2]
    heaviside(pre) = 1[pre > theta]           d / d pre  = 0
                                              d / d theta = -(1 / eps) 1[|pre - theta| < eps / 2]

theta is of pre's shape, or broadcasts over its rows. Element-wise, so that they work on a dense [batch, d_sae] as on
the entries of a sparse code; half of the window lies below theta, so a sparse code must hold what exceeds
theta - eps / 2 (`encode_select.Above`). PyTorch operations on every device: nothing here is worth a kernel of its own.

Rajamanoharan et al. 2024, "Jumping ahead", eq. 5 to 12.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


def jumprelu(pre: Float[Tensor, "*shape"], theta: Float[Tensor, "*broadcast"], eps: float) -> Float[Tensor, "*shape"]:
    """pre where it exceeds theta, else 0."""
    return _Jump.apply(pre, theta, eps)


def heaviside(pre: Float[Tensor, "*shape"], theta: Float[Tensor, "*broadcast"], eps: float) -> Float[Tensor, "*shape"]:
    """1 where pre exceeds theta, else 0."""
    return _Step.apply(pre, theta, eps)


class _Jump(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pre: Tensor, theta: Tensor, eps: float) -> Tensor:
        ctx.save_for_backward(pre, theta)
        ctx.eps = eps
        return torch.where(pre > theta, pre, 0.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        pre, theta = ctx.saved_tensors
        window = (pre - theta).abs() < ctx.eps / 2
        d_theta = torch.where(window, gradient * (-theta / ctx.eps), 0.0)
        return torch.where(pre > theta, gradient, 0.0), d_theta.sum_to_size(theta.shape), None


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pre: Tensor, theta: Tensor, eps: float) -> Tensor:
        ctx.save_for_backward(pre, theta)
        ctx.eps = eps
        return (pre > theta).to(pre.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        pre, theta = ctx.saved_tensors
        window = (pre - theta).abs() < ctx.eps / 2
        return None, torch.where(window, gradient / -ctx.eps, 0.0).sum_to_size(theta.shape), None
