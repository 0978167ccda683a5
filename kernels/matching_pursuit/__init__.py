"""Matching pursuit: rows of a dictionary one after the other, each the one that points most along what is left.

    r_0 = x
    j_t = argmax over j of <r_{t-1}, W_j>
    a_t = <r_{t-1}, W_{j_t}>                      r_t = r_{t-1} - a_t W_{j_t}           t = 1 .. steps

The code of x holds, for every row of W that was taken, the sum of its a_t. A pursuit ends early where no row of W
points along the residual (no positive product); after the step that leaves |r_t| < tau; and, if `stop_at_repeat`, with
the step that takes a row for the second time. Unit rows of W make r_t orthogonal to W_{j_t}, and |r_t| fall with t.

What is taken counts as a constant. With g_t the gradient in a_t, and rho the residual's, walking back:

    alpha_t = g_t - <rho_t, W_{j_t}>,    rho_T = 0,    rho_{t-1} = rho_t + alpha_t W_{j_t}
    d W_{j_t} += alpha_t r_{t-1} - a_t rho_t                                               d x = rho_0

Mallat & Zhang 1993, "Matching pursuits with time-frequency dictionaries"; Costa et al. 2025, "From flat to
hierarchical: extracting sparse representations with matching pursuit" (as an autoencoder).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saelab.kernels.backend import backend
from saelab.kernels.csc import Pattern
from saelab.kernels.csc.cpu import starts
from saelab.kernels.matching_pursuit import cpu, reference


def matching_pursuit(
    x: Float[Tensor, "batch d"],
    W: Float[Tensor, "n d"],
    steps: int,
    tau: float = 0.0,
    stop_at_repeat: bool = False,
) -> tuple[Float[Tensor, "nz"], Pattern]:
    """The code of every row, with the pattern that says where it is not zero. Differentiable in x and W."""
    a, taken = pursue(x, W, steps, tau, stop_at_repeat)
    return gathered(a, taken, len(W))


def pursue(
    x: Float[Tensor, "batch d"], W: Float[Tensor, "n d"], steps: int, tau: float = 0.0, stop_at_repeat: bool = False
) -> tuple[Float[Tensor, "batch steps"], Int[Tensor, "batch steps"]]:
    """a_t, differentiable in x and W, and j_t; after a pursuit's end a_t is 0."""
    if not len(x):
        raise ValueError("a batch has at least one row")
    if backend(x) == "reference":
        return reference.pursue(x, W, steps, tau, stop_at_repeat)
    return cpu.Pursuit.apply(x.contiguous(), W, steps, tau, stop_at_repeat)


def gathered(
    a: Float[Tensor, "batch steps"], taken: Int[Tensor, "batch steps"], n: int
) -> tuple[Float[Tensor, "nz"], Pattern]:
    """Steps as a code: entries in row-major order, features ascending, what was taken twice added up."""
    place = taken + n * torch.arange(len(taken), device=taken.device).unsqueeze(1)  # [batch, steps]
    on = a > 0
    entry, inverse = place[on].unique(return_inverse=True)
    values = a.new_zeros(len(entry)).index_add(0, inverse, a[on])
    counts = torch.bincount(entry.div(n, rounding_mode="floor"), minlength=len(a))
    return values, Pattern(entry % n, starts(counts), n)
