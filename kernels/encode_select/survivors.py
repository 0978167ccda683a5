"""What passed a floor, and how it is found in a mask of which nearly everything is false."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saelab.kernels.csc import Pattern
from saelab.kernels.workspace import workspace

WORD = 8  # bytes that are looked at as one


class Survivors(NamedTuple):
    """Exact pre-activations that passed a floor, and their flat places row * d_sae + feature, ascending."""

    values: Float[Tensor, "nz"]
    place: Int[Tensor, "nz"]

    def where(self, kept: Bool[Tensor, "nz"]) -> "Survivors":
        """Those at which `kept` is true."""
        return Survivors(self.values[kept], self.place[kept])

    def pattern(self, n_rows: int, n: int) -> Pattern:
        """The places as a pattern."""
        return pattern_of(self.place, n_rows, n)


def pattern_of(place: Int[Tensor, "nz"], n_rows: int, n: int) -> Pattern:
    """The pattern whose entries stand at the flat places row * n + feature, ascending."""
    row_starts = torch.arange(0, (n_rows + 1) * n, n, device=place.device)
    return Pattern(place % n, torch.searchsorted(place, row_starts), n)


def mask_like(scores: Float[Tensor, "rows n"]) -> Bool[Tensor, "rows n"]:
    """Uninitialised, with rows of whole words; its padding is false."""
    rows, n = scores.shape
    whole = -(-n // WORD) * WORD
    mask = workspace.take(rows, whole, scores.device, torch.bool, "mask")
    mask[:, n:] = False
    return mask[:, :n]


def places(mask: Bool[Tensor, "rows n"]) -> Int[Tensor, "nz"]:
    """Flat indices row * n + column of what is true in a mask from `mask_like`.

    First the words that hold a true byte, then the bytes of those: 4 ms for 19 M bytes of which 1 in 150 is true,
    where nonzero takes 13 (two cores).
    """
    rows, n = mask.shape
    whole = mask.stride(0)
    words = mask.as_strided((rows * whole,), (1,)).view(torch.int64).nonzero().squeeze(1)
    bytes_ = mask.as_strided((rows * whole // WORD, WORD), (WORD, 1)).index_select(0, words)
    found = bytes_.flatten().nonzero().squeeze(1)
    place = words[found // WORD] * WORD + found % WORD
    return place if whole == n else place - place // whole * (whole - n)


def kth_of_maxima(maxima: Float[Tensor, "rows groups"] | Int[Tensor, "rows groups"], k: int) -> Tensor:
    """[rows, 1]: a value that at least k groups of each row reach, the k-th largest of maxima of some 4 k of them.

    Of scores in groups, at least k reach it as well. 2048 rows of 144: 1.2 ms on two cores; the k-th of 9216 takes 29.
    """
    size = 1
    while maxima.shape[1] // (2 * size) >= 4 * k:
        size *= 2
    groups = maxima.shape[1] // size  # columns past the last whole group can only raise the value
    maxima = maxima[:, : size * groups].unflatten(1, (size, groups)).amax(dim=1)
    return maxima.topk(k, dim=1, sorted=False).values.amin(dim=1, keepdim=True)
