"""Latent update: feature by feature, from the list of what its gradient sums to its new weights.

With w the weights of feature i (a row of W), m and v its moments, t the number of the step:

    g = sum over the entries e of i of weight[e] * rows[row of e]        (see kernels/deferred.py)
    g = g - <g, w> w                                                     if `unit`: the rest would change |w| only
    m = beta1 m + (1 - beta1) g,    v = beta2 v + (1 - beta2) g^2
    w = w - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
    w = w / |w|                                                          if `unit`

Every feature takes the step of exact Adam, active or not: idle moments decay. The gradient is never written out, and
what a feature needs is read and written once. W_enc and W_dec take one call each and share the sort by feature.

Kingma & Ba 2015, "Adam", algorithm 1; Bricken et al. 2023, "Towards monosemanticity" (unit rows, projected gradient).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from saelab.kernels.backend import backend
from saelab.kernels.deferred import Derived, Part
from saelab.kernels.latent_update import cpu, reference
from saelab.kernels.latent_update.adam import AdamStep
from saelab.kernels.latent_update.unit import normalise_rows_, remove_parallel_

__all__ = ["AdamStep", "Moments", "latent_update", "normalise_rows_", "remove_parallel_"]


@dataclass(frozen=True)
class Moments:
    """Adam's running means of the gradient and of its square, laid out as W."""

    first: Float[Tensor, "n d"]
    second: Float[Tensor, "n d"]


def latent_update(
    W: Float[Tensor, "n d"],
    moments: Moments,
    gradient: Sequence[Part],
    adam: AdamStep,
    unit: bool,
    derived: Derived | None = None,
) -> None:
    """Change W and its moments in place, by the sum of the parts of `gradient`, and let `derived` follow.

    Raises ValueError for other layouts.
    """
    for name, tensor in {"W": W, "moments.first": moments.first, "moments.second": moments.second}.items():
        if tensor.shape != W.shape or not tensor.is_contiguous():
            raise ValueError(f"{name} has shape {tuple(tensor.shape)} and strides {tensor.stride()}: as W, contiguous")
    name = backend(W)
    if name == "cpu":
        cpu.latent_update(W, moments.first, moments.second, gradient, adam, unit, derived)
        return
    if name == "triton":
        from saelab.kernels.latent_update import fused

        fused.latent_update(W, moments.first, moments.second, gradient, adam, unit)
    else:
        reference.latent_update(W, moments.first, moments.second, gradient, adam, unit)
    if derived is not None:
        derived.follow(0, W)
        derived.followed(W)
