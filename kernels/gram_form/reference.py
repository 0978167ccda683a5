"""The definition: the whole Gram matrix, and autograd."""

import torch
from jaxtyping import Float
from torch import Tensor


def gram_form(
    g: Float[Tensor, "batch n"],
    left: Float[Tensor, "n d"],
    right: Float[Tensor, "n d"],
    weight: Float[Tensor, "n"] | None,
    gradients: bool,
) -> tuple[Tensor, ...]:
    """(form), and where `gradients` are wanted those in g, left and right."""
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in (g, left, right)]
        g, left, right = leaves
        gram = (left @ left.t()) * (right @ right.t())
        if weight is not None:
            place = torch.arange(len(weight), device=weight.device)
            gram = gram * weight[torch.maximum(place.unsqueeze(1), place)]
        form = ((g.t() @ g) * gram).sum()
        found = torch.autograd.grad(form, leaves) if gradients else ()
    return form.detach(), *found
