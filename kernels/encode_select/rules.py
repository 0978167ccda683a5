"""Which pre-activations are kept: the k largest of each row, of the whole batch, or those above a threshold.

A rule reads the pre-activations chunk by chunk and never holds more than one chunk and what it keeps. It sets a floor
below which nothing can be kept, as far as the chunk's scores tell, and decides on the exact values of what passes it.
Rounding to bf16 and deciding on that would pick wrong features on a third of the rows or more.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from saelab.kernels.csc import Pattern
from saelab.kernels.encode_select import reference
from saelab.kernels.encode_select.survivors import Survivors


@runtime_checkable
class Chunk(Protocol):
    """Scores of some rows: less `shift` no less than the exact pre-activation, and more by `slack` at most.

    They are then rounded. The k-th best of a row exceeds the k-th best value by `likely` at most, in all likelihood.
    """

    n_rows: int
    n: int
    slack: Float[Tensor, "rows 1"]
    likely: Float[Tensor, "rows 1"]
    shift: Float[Tensor, "rows 1"]
    rounding: float  # by at most this share of itself

    def reached(self, k: int) -> Float[Tensor, "rows 1"]:
        """A value that the scores of at least k features of each row reach, and few more."""

    def sample(self, every: int) -> Float[Tensor, "some groups"]:
        """About the largest pre-activations of groups of few neighbouring features, of every so-manieth row."""

    def survivors(self, floor: Float[Tensor, "..."]) -> Survivors:
        """Entries whose score is not below `floor` (broadcast over the scores), with their exact values."""


FEW = 16  # features for one that is kept
Chunks = Callable[[], Iterator[Chunk]]  # each call gives the same chunks from the start


@runtime_checkable
class Rule(Protocol):
    """Picks entries out of the pre-activations of a batch."""

    def select(self, chunks: Chunks, n_rows: int, n: int) -> tuple[Float[Tensor, "nz"], Pattern]: ...

    def kept(self, pre: Float[Tensor, "batch d_sae"]) -> Bool[Tensor, "batch d_sae"]:
        """The definition of what is picked, on the whole of the pre-activations."""

    def keeps_few(self, n: int) -> bool:
        """Whether it keeps a small share of n features, on any data: rough scores then pay."""


@dataclass(frozen=True)
class TopK:
    """The k largest positive values of each row; among equals the lowest feature is kept."""

    k: int

    def select(self, chunks: Chunks, n_rows: int, n: int) -> tuple[Float[Tensor, "nz"], Pattern]:
        found = gather(chunks(), self._rows)
        return found.values, found.pattern(n_rows, n)

    def kept(self, pre: Float[Tensor, "batch d_sae"]) -> Bool[Tensor, "batch d_sae"]:
        return reference.topk(pre, self.k)

    def keeps_few(self, n: int) -> bool:
        return FEW * self.k <= n

    def _rows(self, chunk: Chunk) -> Survivors:
        """What passes a bound that k features nearly certainly reach, or, should it be too high, one they must."""
        score = chunk.reached(min(self.k, chunk.n))
        for sure in (score - chunk.likely, floor_under(chunk, score) - chunk.slack):
            bound = (sure - chunk.shift).clamp_min(0)
            found = chunk.survivors(floor_under(chunk, bound + chunk.shift))
            kept, least = largest_of_rows(found, self.k, chunk.n_rows, chunk.n)
            if ((least >= bound.flatten()) | (bound.flatten() == 0)).all():
                break
        return found.where(kept)


@dataclass(frozen=True)
class Above:
    """Every value strictly above its feature's threshold."""

    threshold: Float[Tensor, "d_sae"] | float

    def select(self, chunks: Chunks, n_rows: int, n: int) -> tuple[Float[Tensor, "nz"], Pattern]:
        found = gather(chunks(), self._rows)
        return found.values, found.pattern(n_rows, n)

    def kept(self, pre: Float[Tensor, "batch d_sae"]) -> Bool[Tensor, "batch d_sae"]:
        return ~(pre <= self.threshold)

    def keeps_few(self, n: int) -> bool:
        return False  # whatever the data has above it

    def _rows(self, chunk: Chunk) -> Survivors:
        threshold = torch.as_tensor(self.threshold, dtype=chunk.slack.dtype, device=chunk.slack.device)
        found = chunk.survivors(floor_under(chunk, threshold + chunk.shift))
        limit = threshold.expand(chunk.n)[found.place % chunk.n]
        return found.where(~(found.values <= limit))


@dataclass(frozen=True)
class BatchTopK:
    """The batch * k largest positive values of the whole batch; among equals the lowest (row, feature) is kept.

    Rather than sort batch x d_sae values, a bound that is a little too low is read off a sample of rows; what exceeds
    it (about 1.2 batch * k values) is compacted, and the exact cut is made among those. Should fewer than batch * k
    exceed it, the bound is lowered and the pass repeated, so the result is exact for any data.
    """

    k: int

    def select(self, chunks: Chunks, n_rows: int, n: int) -> tuple[Float[Tensor, "nz"], Pattern]:
        budget = self.k * n_rows
        for margin in (1.2, 6.0, float("inf")):
            parts = chunks()
            first = next(parts)
            bound = self._bound(first, margin)
            found = positive(gather(chain([first], parts), partial(self._above, bound=bound)))
            if bound <= 0 or (found.values >= bound).sum() >= budget:
                break
        found = found.where(largest(found.values, budget))
        return found.values, found.pattern(n_rows, n)

    def kept(self, pre: Float[Tensor, "batch d_sae"]) -> Bool[Tensor, "batch d_sae"]:
        return reference.batch_topk(pre, self.k)

    def keeps_few(self, n: int) -> bool:
        return FEW * self.k <= n

    def _above(self, chunk: Chunk, bound: float) -> Survivors:
        return chunk.survivors(floor_under(chunk, bound + chunk.shift))

    def _bound(self, chunk: Chunk, margin: float) -> float:
        """At least 0: what about `margin` * k groups per row of the sample exceed, so as many features or more."""
        sample = chunk.sample(max(1, chunk.n_rows // 256))  # 256 rows: k per row is known to some 3 %
        wanted = margin * self.k * len(sample)
        if wanted >= sample.numel():
            return 0.0
        return max(0.0, sample.flatten().topk(int(wanted), sorted=False).values.min().item())


def floor_under(chunk: Chunk, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """A floor that scores pass which were `value` or more before they were rounded."""
    return value - chunk.rounding * value.abs()  # rounding keeps the order, and its share is a little smaller


def positive(found: Survivors) -> Survivors:
    """Those that are not 0 or less; what is not a number is handed on."""
    return found.where(~(found.values <= 0))


def largest(values: Float[Tensor, "nz"], budget: int) -> Bool[Tensor, "nz"]:
    """True at the `budget` largest; among equals the first are kept."""
    if len(values) <= budget:
        return torch.ones_like(values, dtype=torch.bool)
    cut = values.kthvalue(len(values) - budget + 1).values
    above, equal = ~(values <= cut), values == cut  # what is not a number is kept
    return above | (equal & (equal.cumsum(0) <= budget - above.sum()))


def largest_of_rows(found: Survivors, k: int, n_rows: int, n: int) -> tuple[Bool[Tensor, "nz"], Float[Tensor, "rows"]]:
    """True at the k largest positive values of each row, among equals the first; and each row's k-th largest.

    The rows are laid side by side, padded to equal length. One more than k is asked for: only where it equals the
    k-th is there a tie to settle, by a stable sort of that row.
    """
    pattern = found.pattern(n_rows, n)
    width = max(k + 1, int(pattern.counts.max()))
    slot = torch.arange(len(found.values), device=found.place.device) + (
        pattern.row * width - pattern.offsets[pattern.row]
    )
    rows = found.values.new_full((n_rows * width,), -torch.inf).index_copy_(0, slot, found.values).view(n_rows, width)
    top = rows.topk(k + 1, dim=1)
    kept = torch.zeros_like(rows, dtype=torch.bool).scatter_(1, top.indices[:, :k], ~(top.values[:, :k] <= 0))
    tied = (top.values[:, k - 1] == top.values[:, k]) & (top.values[:, k] > 0)
    if tied.any():
        first = rows[tied].sort(dim=1, descending=True, stable=True).indices[:, :k]
        kept[tied] = torch.zeros_like(rows[tied], dtype=torch.bool).scatter_(1, first, True)
    return kept.flatten().index_select(0, slot), top.values[:, k - 1]


def gather(chunks: Iterable[Chunk], pick: Callable[[Chunk], Survivors]) -> Survivors:
    """What `pick` takes of every chunk, with places counted from the first row of the first."""
    values, place, start = [], [], 0
    for chunk in chunks:
        found = pick(chunk)
        values.append(found.values)
        place.append(found.place + start)
        start += chunk.n_rows * chunk.n
    return Survivors(torch.cat(values), torch.cat(place))
