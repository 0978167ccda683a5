"""Which pre-activations are kept: the k largest of each row, of the whole batch, or those above a threshold.

A rule reads the pre-activations chunk by chunk and never holds more than one chunk and what it keeps. All selection is
done in the dtype of the pre-activations, fp32 in practice: rounding to bf16 first picks wrong features on a third of
the rows or more.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saelab.kernels.csc import Pattern
from saelab.kernels.sparse_encode import reference

Chunks = Callable[[], Iterator[Tensor]]  # each call gives the same chunks of pre-activations from the start


@runtime_checkable
class Rule(Protocol):
    """Picks entries out of the pre-activations of a batch."""

    def select(self, chunks: Chunks, n_rows: int, n: int) -> tuple[Float[Tensor, "nz"], Pattern]: ...

    def kept(self, pre: Float[Tensor, "batch d_sae"]) -> Bool[Tensor, "batch d_sae"]:
        """The definition of what is picked, on the whole of the pre-activations."""


@dataclass(frozen=True)
class TopK:
    """The k largest of each row, whatever their sign; among equal positive values the lowest feature is kept.

    One more than k is asked for: only where it equals the k-th is there a tie to settle, by a stable sort of that row.
    """

    k: int

    def select(self, chunks: Chunks, n_rows: int, n: int) -> tuple[Float[Tensor, "nz"], Pattern]:
        parts = [self._rows(pre) for pre in chunks()]
        values, index = (torch.cat(part).flatten() for part in zip(*parts, strict=True))
        offsets = torch.arange(0, n_rows * self.k + 1, self.k, device=index.device)
        return values, Pattern(index, offsets, n)

    def kept(self, pre: Float[Tensor, "batch d_sae"]) -> Bool[Tensor, "batch d_sae"]:
        return reference.topk(pre, self.k)

    def _rows(self, pre: Tensor) -> tuple[Float[Tensor, "rows k"], Int[Tensor, "rows k"]]:
        k = self.k
        top = pre.topk(min(k + 1, pre.shape[1]), dim=1)
        index = top.indices[:, :k].sort(dim=1).values
        last = top.values[:, k - 1 :]
        tied = (last[:, 0] == last[:, -1]) & (last[:, 0] > 0) if last.shape[1] > 1 else last.new_zeros(0)
        if tied.any():
            first = pre[tied].sort(dim=1, descending=True, stable=True).indices[:, :k]
            index[tied] = first.sort(dim=1).values
        return pre.gather(1, index), index


@dataclass(frozen=True)
class Above:
    """Every value strictly above its feature's threshold."""

    threshold: Float[Tensor, "d_sae"] | float

    def select(self, chunks: Chunks, n_rows: int, n: int) -> tuple[Float[Tensor, "nz"], Pattern]:
        return pack(survivors(chunks(), self.threshold), n_rows, n)

    def kept(self, pre: Float[Tensor, "batch d_sae"]) -> Bool[Tensor, "batch d_sae"]:
        return pre > self.threshold


@dataclass(frozen=True)
class BatchTopK:
    """The batch * k largest positive values of the whole batch; among equals the lowest (row, feature) is kept.

    Rather than sort batch x d_sae values, a bound that is a little too low is read off a sample of rows; what exceeds
    it (about 1.5 batch * k values) is compacted, and the exact cut is made among those. Should fewer than batch * k
    exceed it, the bound is lowered and the pass repeated, so the result is exact for any data. At d_sae=9216, k=32,
    batch 2048 on one shared core: 30 ms, where a flat topk takes 336 ms and a topk per row 76 ms.
    """

    k: int

    def select(self, chunks: Chunks, n_rows: int, n: int) -> tuple[Float[Tensor, "nz"], Pattern]:
        budget = self.k * n_rows
        for margin in (1.5, 6.0, float("inf")):
            parts = chunks()
            first = next(parts)
            bound = self._bound(first, margin)
            found = survivors(chain([first], parts), bound)
            if len(found.values) >= budget or bound == 0:
                break
        kept = largest(found.values, budget)
        return pack(Survivors(found.values[kept], found.place[kept]), n_rows, n)

    def kept(self, pre: Float[Tensor, "batch d_sae"]) -> Bool[Tensor, "batch d_sae"]:
        return reference.batch_topk(pre, self.k)

    def _bound(self, pre: Tensor, margin: float) -> float:
        """A value that `margin` * k per row of the sample exceed; never below 0."""
        sample = pre[:: max(1, len(pre) // 32)].flatten()  # 32 rows: k per row is known to some 10 %
        wanted = margin * self.k * sample.numel() / pre.shape[1]
        if wanted >= sample.numel():
            return 0.0
        return max(0.0, sample.topk(int(wanted), sorted=False).values.min().item())


class Survivors(NamedTuple):
    """Values that passed a bound, with their flat places row * n + feature, ascending."""

    values: Tensor
    place: Tensor


def survivors(chunks: Iterable[Tensor], bound: Float[Tensor, "d_sae"] | float) -> Survivors:
    """The values above `bound`, compacted chunk by chunk."""
    values, places, start = [], [], 0
    for pre in chunks:
        flat = (pre > bound).flatten().nonzero().squeeze(1)
        values.append(pre.flatten().index_select(0, flat))
        places.append(flat + start)
        start += pre.numel()
    return Survivors(torch.cat(values), torch.cat(places))


def largest(values: Float[Tensor, "nz"], budget: int) -> Bool[Tensor, "nz"]:
    """True at the `budget` largest; among equals the first are kept."""
    if len(values) <= budget:
        return torch.ones_like(values, dtype=torch.bool)
    cut = values.kthvalue(len(values) - budget + 1).values
    above, equal = values > cut, values == cut
    return above | (equal & (equal.cumsum(0) <= budget - above.sum()))


def pack(found: Survivors, n_rows: int, n: int) -> tuple[Float[Tensor, "nz"], Pattern]:
    """Values and the pattern that says where they are."""
    row_starts = torch.arange(0, (n_rows + 1) * n, n, device=found.place.device)
    return found.values, Pattern(found.place % n, torch.searchsorted(found.place, row_starts), n)
