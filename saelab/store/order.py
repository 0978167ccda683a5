"""The order in which a reader gives rows: a pure function of (seed, epoch, what the store holds).

Row groups of all shards are permuted such that each shard's groups are spread evenly over the epoch; POOL of
them at a time are read and their rows permuted once more. So a batch mixes rows of many documents, reads stay
long, and any batch can be found by arithmetic.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True)
class Group:
    """Row group `index` of shard `shard`."""

    shard: int
    index: int
    rows: int


@dataclass(frozen=True)
class Pools:
    """The epochs of one split. `key` names the store's content, so that other rows come in another order."""

    shard_rows: tuple[int, ...]
    row_group: int
    pool: int
    seed: int
    key: str

    def of_epoch(self, epoch: int) -> list[list[Group]]:
        """The row groups of each pool, in the order of the epoch."""
        draw = torch.Generator().manual_seed(self._seed("groups", epoch))
        placed: list[tuple[float, Group]] = []
        for shard, rows in enumerate(self.shard_rows):
            groups = _groups(shard, rows, self.row_group)
            order = torch.randperm(len(groups), generator=draw).tolist()
            jitter = torch.rand(len(groups), generator=draw, dtype=torch.float64).tolist()
            placed += [((place + jitter[place]) / len(groups), groups[index]) for place, index in enumerate(order)]
        placed.sort(key=lambda item: item[0])
        ordered = [group for _, group in placed]
        return [ordered[at : at + self.pool] for at in range(0, len(ordered), self.pool)]

    def permutation(self, epoch: int, pool: int, rows: int) -> Int[Tensor, "rows"]:
        """The order of the rows inside a pool."""
        draw = torch.Generator().manual_seed(self._seed("rows", epoch, pool))
        return torch.randperm(rows, generator=draw)

    def most_rows(self) -> int:
        """Rows of the largest pool there can be."""
        return min(self.pool * self.row_group, sum(self.shard_rows))

    def _seed(self, *what: str | int) -> int:
        text = json.dumps([self.key, self.shard_rows, self.row_group, self.pool, self.seed, *what])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def _groups(shard: int, rows: int, row_group: int) -> list[Group]:
    return [Group(shard, i, min(row_group, rows - i * row_group)) for i in range(-(-rows // row_group))]


def rows_of(pool: Sequence[Group]) -> int:
    return sum(group.rows for group in pool)


def find(pools: Sequence[Sequence[Group]], row: int) -> tuple[int, int]:
    """The pool that holds row number `row` of the epoch, and which of the pool's rows it is."""
    ends = list(accumulate(rows_of(pool) for pool in pools))
    index = next(i for i, end in enumerate(ends) if row < end)
    return index, row - (ends[index] - rows_of(pools[index]))
