"""Shuffled batches of rows, of several sites in lock step, read in the background."""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from saelab.store.ahead import ahead
from saelab.store.layout import DTYPES, SiteInfo
from saelab.store.order import Group, Pools, find, rows_of


class Reader:
    """Batches of a split, epoch after epoch, in an order that only (seed, epoch, store) decide.

    Rows come in the stored dtype; whoever trains casts them, on the device. Each epoch gives every row once,
    but for the last rows that do not fill a batch. `copy(site, group, out)` fills `out` with a row group.
    """

    def __init__(
        self,
        pools: Pools,
        sites: Mapping[str, SiteInfo],
        copy: Callable[[str, Group, Tensor], None],
        batch: int,
        prefetch: int,
    ) -> None:
        self.pools = pools
        self.sites = dict(sites)
        self.batch = batch
        self.prefetch = prefetch
        self.rows_per_epoch = sum(pools.shard_rows)
        self.batches_per_epoch = self.rows_per_epoch // batch
        self._copy = copy

    def batches(self, start: int = 0) -> Generator[dict[str, Tensor], None, None]:
        """Batches start, start + 1, … without end; {site: [batch, d]}. Closing the iterator ends its threads."""
        return ahead(self._batches(start), self.prefetch)

    def _batches(self, start: int) -> Iterator[dict[str, Tensor]]:
        with closing(ahead(self._loaded(start), 1)) as pools:
            filled = 0
            out: dict[str, Tensor] = {}
            for first_of_epoch, rows, order in pools:
                if first_of_epoch:
                    filled = 0  # the rows that were left over from the epoch before
                at = 0
                while at < len(order):
                    if filled == 0:
                        out = self._empty(self.batch)
                    part = order[at : at + self.batch - filled]
                    for site in self.sites:
                        gather(rows[site], part, out[site][filled : filled + len(part)])
                    at += len(part)
                    filled += len(part)
                    if filled == self.batch:
                        yield out
                        filled = 0

    def _loaded(self, start: int) -> Iterator[tuple[bool, dict[str, Tensor], Tensor]]:
        """(whether an epoch begins here, the pool's rows by site, the order to give them in), from batch `start` on.

        Two buffers are filled in turn: fresh memory for each pool would cost more in page faults than reading it.
        """
        buffers = [self._empty(self.pools.most_rows()) for _ in range(2)]
        epoch, first = divmod(start, self.batches_per_epoch)
        while True:
            pools = self.pools.of_epoch(epoch)
            begin, skip = find(pools, first * self.batch)
            for index in range(begin, len(pools)):
                order = self.pools.permutation(epoch, index, rows_of(pools[index]))
                buffers.reverse()
                yield index == begin, self._load(pools[index], buffers[0]), order[skip:]
                skip = 0
            epoch, first = epoch + 1, 0

    def _load(self, pool: list[Group], buffer: dict[str, Tensor]) -> dict[str, Tensor]:
        for site, out in buffer.items():
            at = 0
            for group in pool:
                self._copy(site, group, out[at : at + group.rows])
                at += group.rows
        return buffer

    def _empty(self, rows: int) -> dict[str, Tensor]:
        return {site: torch.empty(rows, info.d, dtype=DTYPES[info.dtype]) for site, info in self.sites.items()}


def gather(rows: Shaped[Tensor, "pool d"], index: Int[Tensor, "batch"], out: Shaped[Tensor, "batch d"]) -> None:
    """out[i] = rows[index[i]], eight bytes at a time where the width allows: twice the speed of bf16 elements."""
    if rows.shape[1] * rows.element_size() % 8 == 0:
        rows, out = rows.view(torch.int64), out.view(torch.int64)
    torch.index_select(rows, 0, index, out=out)
