"""Weight gradients that are not summed yet: an optimiser that walks the features sums them as it goes.

A weight gradient of a sparse code is, feature by feature, a sum over few rows. Written out it is as large as the
weights, only to be read once by the optimiser. Within `deferring()` the ops keep the list of what is to be summed
instead, and leave `.grad` of the weights alone:

    with deferring() as gradients:
        sae_loss(batch).backward()
    latent_update(W_dec, moments, gradients.of(W_dec), ...)

What an op does not defer (dense paths, other people's modules) arrives in `.grad` as ever, and is one more part.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saelab.kernels.csc import Csc


@dataclass(frozen=True)
class RowSum:
    """gradient[i] = sum over the entries e of feature i of weight[e] * rows[row of e]; `weight` in row-major order."""

    csc: Csc
    weight: Float[Tensor, "nz"]
    rows: Float[Tensor, "batch d"]

    def whole(self, n: int) -> Float[Tensor, "n d"]:
        """The gradient of all n features."""
        return self.csc.rows_by_feature(self.weight, self.rows)

    def chunks(self, n: int, size: int) -> Iterator[Tensor]:
        """The same, `size` features at a time."""
        weight = self.weight[self.csc.order]
        starts = [*self.csc.offsets[:-1:size].tolist(), len(weight)]
        for i, (first, last) in enumerate(pairwise(starts)):
            yield self.csc.chunk(weight, self.rows, slice(first, last), slice(i * size, (i + 1) * size))


@dataclass(frozen=True)
class Rows:
    """gradient[index[j]] = rows[j], for features in ascending order, each at most once; 0 for the others."""

    index: Int[Tensor, "m"]
    rows: Float[Tensor, "m d"]

    def whole(self, n: int) -> Float[Tensor, "n d"]:
        """The gradient of all n features."""
        return self.rows.new_zeros(n, self.rows.shape[1]).index_copy_(0, self.index, self.rows)

    def chunks(self, n: int, size: int) -> Iterator[Tensor | None]:
        """The same, `size` features at a time; None where all of them are 0."""
        starts = torch.arange(0, n, size, device=self.index.device)
        ends = [*torch.searchsorted(self.index, starts).tolist(), len(self.index)]
        for i, (first, last) in enumerate(pairwise(ends)):
            own = self.rows.new_zeros(min(size, n - i * size), self.rows.shape[1])
            yield own.index_copy_(0, self.index[first:last] - i * size, self.rows[first:last]) if first < last else None


@dataclass(frozen=True)
class Whole:
    """A gradient that is written out already."""

    gradient: Float[Tensor, "n d"]

    def whole(self, n: int) -> Float[Tensor, "n d"]:
        """The gradient of all n features."""
        return self.gradient

    def chunks(self, n: int, size: int) -> Iterator[Tensor]:
        """The same, `size` features at a time."""
        yield from self.gradient.split(size)


Part = RowSum | Rows | Whole


@dataclass
class Deferred:
    """Parts of gradients, by the memory of the weights they belong to."""

    parts: dict[int, list[Part]] = field(default_factory=dict)

    def of(self, W: Float[Tensor, "n d"]) -> list[Part]:
        """What was deferred for W."""
        return self.parts.get(W.data_ptr(), [])


def deferred_or_whole(deferred: Deferred | None, W: Float[Tensor, "n d"], part: Part) -> Float[Tensor, "n d"] | None:
    """For a backward pass: None when the part is kept for later, else the gradient itself."""
    if deferred is None:
        return part.whole(len(W))
    deferred.parts.setdefault(W.data_ptr(), []).append(part)
    return None


_current: ContextVar[Deferred | None] = ContextVar("deferred gradients", default=None)


def current() -> Deferred | None:
    """What a forward pass is to remember for its backward pass, which may run in another thread."""
    return _current.get()


@contextmanager
def deferring() -> Iterator[Deferred]:
    """Forward passes inside defer the weight gradients of their backward passes."""
    deferred = Deferred()
    token = _current.set(deferred)
    try:
        yield deferred
    finally:
        _current.reset(token)
