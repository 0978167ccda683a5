"""Patterns that hold what goes wrong: empty rows, a feature active everywhere, features never active."""

import torch

from saelab.kernels.csc import Pattern

SIZES = [(1, 1, 1), (3, 97, 1), (97, 3, 130), (130, 130, 3)]  # rows, features, width


def random_pattern(rows: int, n: int, seed: int = 0) -> Pattern:
    """Feature 0 in every row but the second, which is empty; the last feature never (where there are two)."""
    on = torch.rand(rows, n, generator=torch.Generator().manual_seed(seed)) < 0.2
    on[:, 0] = True
    on[1:2] = False
    on[:, n - 1] &= n == 1
    offsets = torch.nn.functional.pad(on.sum(dim=1).cumsum(0), (1, 0))
    return Pattern(on.nonzero()[:, 1], offsets, n)


def numbers(*shape: int, seed: int = 1) -> torch.Tensor:
    """Standard normal fp64 numbers."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
