"""Of every feature its m[i] largest pre-activations over the rows of the batch: the rows choose nothing, features do.

What is kept of a feature is known only after all rows, but a floor under it is known after the first: the m[i]-th
largest of a chunk's row groups, each by its maximum, is reached by at least m[i] rows. Only what passes the highest
floor so far is kept in between, so nothing is dense but the chunk. A feature with more rows to keep than there are
groups has no floor: all its positive values are kept until the end, which for Zipf's law are few features.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saelab.kernels.csc import Pattern
from saelab.kernels.csc.cpu import sort_by_feature
from saelab.kernels.encode_select import reference
from saelab.kernels.encode_select.rules import Chunk, Chunks, gather, positive
from saelab.kernels.encode_select.survivors import Survivors


@runtime_checkable
class ColumnChunk(Chunk, Protocol):
    """A chunk that can be looked at by features, as those of exact pre-activations can."""

    def reached_by_rows(self, m: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
        """Of each feature a value that at least m[i] rows reach, and few more; 0 where none is known."""


@dataclass(frozen=True)
class FeatureChoice:
    """The m[i] largest positive values of each feature i; among equals the lowest row is kept."""

    m: Int[Tensor, "d_sae"]

    def select(self, chunks: Chunks, n_rows: int, n: int) -> tuple[Float[Tensor, "nz"], Pattern]:
        floor = torch.where(self.m > 0, 0.0, torch.inf)

        def pick(chunk: Chunk) -> Survivors:
            nonlocal floor
            assert isinstance(chunk, ColumnChunk)  # rough ones are for rules that keep few on any data
            floor = torch.maximum(floor.to(chunk.slack.dtype), chunk.reached_by_rows(self.m))
            return positive(chunk.survivors(floor))

        found = gather(chunks(), pick)
        found = found.where(largest_of_features(found.values, found.place % n, self.m))
        return found.values, found.pattern(n_rows, n)

    def kept(self, pre: Float[Tensor, "batch d_sae"]) -> Bool[Tensor, "batch d_sae"]:
        columns = zip(pre.t(), self.m.tolist(), strict=True)
        return torch.stack([reference.largest(column, m) for column, m in columns], dim=1)

    def keeps_few(self, n: int) -> bool:
        return False  # rough scores have floors by rows only


def largest_of_features(
    values: Float[Tensor, "nz"], feature: Int[Tensor, "nz"], m: Int[Tensor, "n"]
) -> Bool[Tensor, "nz"]:
    """True at the m[i] largest values of each feature; among equals the first are kept."""
    order = values.argsort(descending=True, stable=True)
    by_feature, offsets = sort_by_feature(feature[order], len(m))
    order = order[by_feature]
    own = feature[order]
    rank = torch.arange(len(values), device=values.device) - offsets[own]
    return torch.zeros_like(feature, dtype=torch.bool).index_put_((order,), rank < m[own])
