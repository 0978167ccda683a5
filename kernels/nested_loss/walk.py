"""The entries in the order in which nested codes are decoded: row by row, in each row level by level.

The entries of one level in one row are a cell, number row * M + level; error.flatten(0, 1) has one row for each.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saelab.kernels.csc import Pattern


def cell_of(pattern: Pattern, level: Int[Tensor, "nz"], M: int) -> Int[Tensor, "nz"]:
    """The cell of each entry."""
    return pattern.row * M + level


@dataclass(frozen=True)
class Walk:
    """Cell c is index[bounds[c] : bounds[c + 1]]. `order`: their places in the pattern, None when it has them so."""

    index: Int[Tensor, "nz"]
    bounds: Int[Tensor, "cells_plus_1"]
    order: Int[Tensor, "nz"] | None

    @classmethod
    def of(cls, pattern: Pattern, level: Int[Tensor, "nz"], M: int) -> "Walk":
        """Cells in order, their entries as in the pattern."""
        cell = cell_of(pattern, level, M)
        edges = torch.arange(pattern.n_rows * M + 1, device=cell.device)
        if bool((cell.diff() >= 0).all()):  # prefixes: 0.15 ms to see it in 65,536 entries; the sort takes 1.2
            return cls(pattern.index, torch.searchsorted(cell, edges), None)
        cell, order = cell.sort(stable=True)
        return cls(pattern.index[order], torch.searchsorted(cell, edges), order)

    def into(self, values: Float[Tensor, "nz"]) -> Float[Tensor, "nz"]:
        """From the order of the pattern into that of the walk."""
        return values if self.order is None else values[self.order]

    def back(self, values: Float[Tensor, "nz"]) -> Float[Tensor, "nz"]:
        """From the order of the walk into that of the pattern."""
        return values if self.order is None else torch.empty_like(values).index_copy_(0, self.order, values)
