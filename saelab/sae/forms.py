"""What a bilinear latent is, read off its weights: a symmetric form, its axes, and how like another it is.

    f_j = u^T Q_j u,   Q_j = (l_j r_j^T + r_j l_j^T) / 2     the form of latent j, [d, d], of rank 2 at most
    sum_j w_j f_j      has the form sum_j w_j Q_j            any combination of latents, a composite h_i = (D f)_i too

The axes of a form with the largest |eigenvalue| are the coordinates in which to look at what it measures: a form that
is constant on a circle has the circle's plane for its first two. One latent cannot be constant there: its rank is 2,
with eigenvalues (l . r +- |l| |r|) / 2 of opposite signs; alone it explains a circle best with l = r (3/8 of |X|^2,
where l and r at right angles explain 1/8), when its second axis means nothing. Look at combinations: `leading`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.sae.variants.bilinear import Bilinear


@dataclass(frozen=True)
class Axes:
    """Eigenvectors of a form, those of the largest |eigenvalue| first."""

    values: Float[Tensor, "n"]
    vectors: Float[Tensor, "n d"]


@torch.no_grad()
def form(sae: Bilinear, weights: Float[Tensor, "d_sae"]) -> Float[Tensor, "d d"]:
    """The form of sum_j weights_j f_j."""
    product = (sae.left * weights.to(sae.left).unsqueeze(1)).t() @ sae.right
    return (product + product.t()) / 2


def latent(sae: Bilinear, j: int) -> Float[Tensor, "d d"]:
    """The form of latent j."""
    return form(sae, torch.eye(sae.cfg.d_sae)[j])


def axes(Q: Float[Tensor, "d d"], n: int = 3) -> Axes:
    """The first `n` axes of a form; u @ vectors.T are the coordinates of a row of length 1."""
    values, vectors = torch.linalg.eigh(Q)
    first = values.abs().argsort(descending=True)[:n]
    return Axes(values[first], vectors[:, first].t())


@torch.no_grad()
def similarities(sae: Bilinear) -> Float[Tensor, "d_sae d_sae"]:
    """Cosines between the forms of all latents: <Q_i, Q_j> / (|Q_i| |Q_j|), inner products as of matrices (Frobenius).

    <Q_i, Q_j> = ((l_i . l_j)(r_i . r_j) + (l_i . r_j)(r_i . l_j)) / 2.
    """
    L, R = sae.left, sae.right
    inner = ((L @ L.t()) * (R @ R.t()) + (L @ R.t()) * (R @ L.t())) / 2
    length = inner.diagonal().clamp_min(1e-30).sqrt()
    return inner / (length.unsqueeze(1) * length)


@torch.no_grad()
def leading(sae: Bilinear, x: Float[Tensor, "rows d_in"], n: int = 1) -> Float[Tensor, "n d_sae"]:
    """Combinations of latents, unit vectors over composites, that hold most of sum |h|^2 on the rows; the most first.

    The loss does not change when the bottleneck is rotated, D to Q D, so a single composite means nothing, but these
    do. Without a bottleneck h = f.
    """
    f = sae.encode(x)
    h = f if sae.down is None else f @ sae.down.t()
    first = torch.linalg.eigh((h.t() @ h).double()).eigenvectors.flip(1)[:, :n].t().to(f)
    return first if sae.down is None else first @ sae.down


@torch.no_grad()
def prefix_errors(sae: Bilinear, x: Float[Tensor, "rows d_in"], step: int = 256) -> Float[Tensor, "prefixes"]:
    """Share of sum |X|^2 left unexplained by the first p latents (strengths g), p from 0 to d_sae; in fp64.

    Latent p adds -2 f_p g_p + G_pp g_p^2 + 2 sum_{i < p} g_i g_p G_ip; `step` latents at a time.
    """
    u, f = sae.unit(x).double(), sae.encode(x).double()
    g, L, R = sae.strengths(f.to(sae.left)).double(), sae.left.double(), sae.right.double()
    change = -2 * (f * g).sum(dim=0)
    for part in torch.arange(sae.cfg.d_sae).split(step):
        gram = (g.t() @ g[:, part]) * (L @ L[part].t()) * (R @ R[part].t())
        before = gram.triu(-int(part[0]) + 1)  # rows i < p of column p
        change[part] += 2 * before.sum(dim=0) + gram[part].diagonal()
    squares = u.square().sum(dim=1).square().sum()
    return torch.cat([torch.ones(1).to(change), 1 + change.cumsum(0) / squares])


def principal_cosines(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, "k"]:
    """Cosines of the angles between the spans of two sets of vectors, descending; all 1: one lies in the other."""
    base_a, base_b = (torch.linalg.qr(vectors.t().double()).Q for vectors in (a, b))
    return torch.linalg.svdvals(base_a.t() @ base_b)
