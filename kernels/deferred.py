"""Weight gradients that are not summed yet: an optimiser that walks the features sums them as it goes.

A weight gradient of a sparse code is, feature by feature, a sum over few rows. Written out it is as large as the
weights, only to be read once by the optimiser. Within `deferring()` the ops keep the list of what is to be summed
instead, and leave `.grad` of the weights alone:

    with deferring() as gradients:
        sae_loss(batch).backward()
    latent_update(W_dec, moments, gradients.of(W_dec), ...)

A forward pass may also leave there what it made of the weights (`Derived`), for the optimiser to keep true:

    latent_update(W_enc, ..., derived=gradients.derived.get(W_enc.data_ptr()))

What an op does not defer (dense paths, other people's modules) arrives in `.grad` as ever, and is one more part.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol, runtime_checkable

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
    dots: Float[Tensor, "nz"] | None = None  # <rows[row of e], W[feature of e]>, where they are known already

    def along(self, W: Float[Tensor, "n d"]) -> Float[Tensor, "n"] | None:
        """<gradient[i], W[i]>; None where it is no cheaper than from the gradient itself."""
        return None if self.dots is None else self.csc.by_feature(self.weight * self.dots)

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

    def along(self, W: Float[Tensor, "n d"]) -> Float[Tensor, "n"] | None:
        """<gradient[i], W[i]>."""
        found = torch.linalg.vecdot(self.rows, W[self.index])
        return found.new_zeros(len(W)).index_copy_(0, self.index, found)

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

    def along(self, W: Float[Tensor, "n d"]) -> Float[Tensor, "n"] | None:
        """None: it is no cheaper than from the gradient itself."""
        return None

    def whole(self, n: int) -> Float[Tensor, "n d"]:
        """The gradient of all n features."""
        return self.gradient

    def chunks(self, n: int, size: int) -> Iterator[Tensor]:
        """The same, `size` features at a time."""
        yield from self.gradient.split(size)


Part = RowSum | Rows | Whole


@runtime_checkable
class Derived(Protocol):
    """Something made of weights, that whoever changes them may keep true, some features at a time."""

    def follow(self, start: int, W: Float[Tensor, "some d"]) -> None:
        """Features start, start + 1, ... have these weights now; `start` is a multiple of 8."""

    def followed(self, W: Float[Tensor, "n d"]) -> None:
        """All of W as it is now has been followed; a change of W by anyone else makes this worthless."""


@dataclass
class Deferred:
    """Parts of gradients, and what is derived from weights, by the memory of the weights they belong to."""

    derived: dict[int, Derived] = field(default_factory=dict)
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
def deferring(derived: dict[int, Derived] | None = None) -> Iterator[Deferred]:
    """Forward passes inside defer the weight gradients of their backward passes; `derived` is from an earlier step."""
    deferred = Deferred({} if derived is None else derived)
    token = _current.set(deferred)
    try:
        yield deferred
    finally:
        _current.reset(token)
