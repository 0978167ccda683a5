"""Tiles of S and G on and above the diagonal; one above it stands for its mirror image as well, and counts twice."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

TILE = 512  # latents to a side: five tiles of 1 MB, which stay near


def gram_form(
    g: Float[Tensor, "batch n"],
    left: Float[Tensor, "n d"],
    right: Float[Tensor, "n d"],
    weight: Float[Tensor, "n"] | None,
    gradients: bool,
) -> tuple[Tensor, ...]:
    """(form), and where `gradients` are wanted those in g, left and right."""
    form = g.new_zeros(())
    d_g, d_left, d_right = (torch.zeros_like(t) if gradients else None for t in (g, left, right))
    for i, j in _tiles(g.shape[1]):
        times = 1 if i == j else 2
        together = g[:, i].t() @ g[:, j]  # a tile of S
        if weight is not None:
            together *= _later(weight, i, j)
        lefts, rights = left[i] @ left[j].t(), right[i] @ right[j].t()
        form += times * torch.linalg.vecdot((together * lefts).flatten(), rights.flatten())
        if d_g is None or d_left is None or d_right is None:
            continue
        _add_both(d_left, left, together * rights, i, j)
        _add_both(d_right, right, together * lefts, i, j)
        gram = lefts * rights if weight is None else lefts * rights * _later(weight, i, j)
        _add_both(d_g.t(), g.t(), gram, i, j)
    return (form,) if d_g is None else (form, d_g, d_left, d_right)


def _tiles(n: int) -> Iterator[tuple[slice, slice]]:
    starts = range(0, n, TILE)
    for i in starts:
        for j in starts[i // TILE :]:
            yield slice(i, min(n, i + TILE)), slice(j, min(n, j + TILE))


def _later(weight: Tensor, i: slice, j: slice) -> Tensor:
    """weight_max(i, j) of a tile. Off the diagonal every j comes after every i."""
    if i != j:
        return weight[j].unsqueeze(0)
    return torch.minimum(weight[i].unsqueeze(1), weight[j])  # the later one, as weights descend


def _add_both(out: Tensor, rows: Tensor, tile: Tensor, i: slice, j: slice) -> None:
    """Add 2 M rows to `out`, for the part of the symmetric M that is the tile and its mirror image."""
    out[i].addmm_(tile, rows[j], alpha=2)
    if i != j:
        out[j].addmm_(tile.t(), rows[i], alpha=2)
