"""An activation store that is finished, or as far as it is finished: read rows, batches, tokens; ask it in SQL."""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float
from torch import Tensor

from saelab.contracts import Progress, canonical_site
from saelab.errors import StoreError
from saelab.store import check, shard, views
from saelab.store.layout import (
    DTYPES,
    GRADIENT,
    SPLITS,
    Manifest,
    Marker,
    SiteInfo,
    StoreInfo,
    documents_path,
    finished,
    gradient_of,
    markers,
    read_json,
    shard_path,
)
from saelab.store.order import Group, Pools
from saelab.store.reader import Reader

Shards = dict[str, dict[str, list[Marker]]]  # [split][site]


class RowsPlace(NamedTuple):
    """The rows of a site, or the gradients beside them."""

    site: str
    column: shard.Column
    about: SiteInfo  # of that column

    @property
    def name(self) -> str:
        """What they are called among the rows of a batch."""
        return self.site if self.column == "act" else gradient_of(self.site)


class Store:
    """Rows of one model on one corpus at one or several sites. Row r is the same token at every site of a split."""

    def __init__(self, path: Path, info: StoreInfo, shards: Shards) -> None:
        self.path = path
        self.info = info
        self.shards = shards
        self.hash = info.hash
        self.config: dict[str, Any] = info.config
        self.model: dict[str, Any] = info.model
        self.corpus: dict[str, Any] = info.corpus
        self.sites = tuple(info.sites)
        self.gradient_sites = tuple(site for site, about in info.sites.items() if about.gradient is not None)
        self.splits = tuple(split for split in SPLITS if split in shards)

    @classmethod
    def open(cls, path: Path | str, *, complete: bool = True) -> "Store":
        """Open a store and check that every file has its full size.

        Raises StoreError when there is none, when it is damaged, and, unless `complete` is false, when its
        harvest has not ended; then only the shards finished at all sites are seen.
        """
        path = Path(path)
        if not (path / "store.json").is_file():
            raise StoreError(f"{path} is not an activation store: it has no store.json. `saelab harvest` makes one.")
        info = read_json(StoreInfo, path / "store.json")
        shards = _from_manifest(path, info) if complete else _from_markers(path, info)
        for split, by_site in shards.items():
            _require_lock_step(path, split, by_site, info)
            for site, found in by_site.items():
                for number, marker in enumerate(found):
                    shard.require_size(shard_path(path, split, site, number), marker.bytes)
        return cls(path, info, shards)

    def d(self, site: str) -> int:
        """Width of a row of this site."""
        return self.info.sites[self.require_site(site)].d

    def dtype(self, site: str) -> torch.dtype:
        """What the numbers of this site are stored as."""
        return DTYPES[self.info.sites[self.require_site(site)].dtype]

    def rows(self, split: str = "train") -> int:
        """Rows of a split, the same at every site."""
        return sum(self.shard_rows(split))

    def shard_rows(self, split: str) -> tuple[int, ...]:
        """Rows of each shard of a split."""
        return tuple(marker.rows for marker in self.shards[self._require_split(split)][self.sites[0]])

    def require_site(self, site: str | None) -> str:
        """The store's name of `site`; None means the only one it has. Raises StoreError listing them otherwise."""
        if site is None and len(self.sites) == 1:
            return self.sites[0]
        name = site if site is None or site in self.sites else canonical_site(site)
        if name is None or name not in self.sites:
            asked = "a site must be chosen" if name is None else f"no site {name!r}"
            raise StoreError(f"{self.path}: {asked}. It holds: {', '.join(self.sites)}.")
        return name

    def read(self, site: str, split: str = "train", start: int = 0, stop: int | None = None) -> Float[Tensor, "rows d"]:
        """Rows start to stop of a split in stored order and dtype; `start` and `stop` as in a slice.

        Of `gradient_of(site)`, the gradients beside them.
        """
        place = self._place(site)
        start, stop, _ = slice(start, stop).indices(self.rows(split))
        out = torch.empty(max(0, stop - start), place.about.d, dtype=DTYPES[place.about.dtype])
        step = self.info.row_group
        for number, marker in enumerate(self.shards[split][place.site]):
            low, high = max(start, marker.first_row), min(stop, marker.first_row + marker.rows)
            row = low
            while row < high:
                index, skip = divmod(row - marker.first_row, step)
                count = min(step - skip, high - row)
                self._copy(split, place, Group(number, index, count), skip, out[row - start : row - start + count])
                row += count
        return out

    def _place(self, name: str) -> "RowsPlace":
        """Where the rows called `name` are: a site's own, or `gradient_of(site)`. Raises StoreError."""
        site = self.require_site(name.removesuffix(GRADIENT))
        about = self.info.sites[site]
        if not name.endswith(GRADIENT):
            return RowsPlace(site, "act", about)
        if about.gradients is None:
            raise StoreError(
                f"{self.path} has no gradients beside the rows of {site}.\n"
                "  fix:   harvest into another folder with gradients: true"
            )
        return RowsPlace(site, "gradient", about.gradients)

    def _copy(self, split: str, place: "RowsPlace", group: Group, first: int, out: Tensor) -> None:
        """Fill `out` [rows, d] from a row group, beginning with its row `first`. The shard is checked once."""
        shard.copy_rows(self._checked(split, place.site, group.shard), place.column, group.index, first, out)

    def tokens(self, split: str = "train") -> pa.Table:
        """doc, pos, ctx, token and norm of every row, in order; the norm is the first site's."""
        numbers = range(len(self.shard_rows(split)))
        return pa.concat_tables([shard.read_meta(self._checked(split, self.sites[0], n)) for n in numbers])

    def columns(self, names: Sequence[str], split: str = "train") -> pa.Table:
        """Some of doc, pos, ctx, token and norm of every row, in order.

        For pages: no checksum is computed, which would read every row's activations; `tokens` computes them.
        """
        numbers = range(len(self.shard_rows(split)))
        paths = [shard_path(self.path, split, self.sites[0], number) for number in numbers]
        return pa.concat_tables([pq.read_table(path, columns=list(names)) for path in paths])

    def documents(self, split: str = "train") -> dict[int, str]:
        """Names of the documents by their number in the split."""
        path = documents_path(self.path, self._require_split(split))
        marker = finished(path)
        if marker is None:
            raise StoreError(f"{path} is missing or damaged. {shard.mend(path)}")
        shard.check(path, marker.bytes, marker.crc32)
        table = pq.read_table(path)
        return dict(zip(table["doc"].to_pylist(), table["name"].to_pylist(), strict=True))

    def reader(
        self,
        sites: Sequence[str],
        *,
        split: str = "train",
        batch: int,
        seed: int,
        pool: int = 16,
        prefetch: int = 2,
    ) -> Reader:
        """Shuffled batches of these sites, row by row the same tokens; `gradient_of(site)` counts as one."""
        if batch > self.rows(split):
            raise StoreError(
                f"{self.path} has {self.rows(split)} {split} rows, fewer than one batch of {batch}.\n"
                f"  fix:   a smaller batch, or a harvest of more tokens"
            )
        pools = Pools(self.shard_rows(split), self.info.row_group, pool, seed, f"{self.hash}/{split}")
        places = {place.name: place for place in map(self._place, sites)}

        def copy(name: str, group: Group, out: Tensor) -> None:
            self._copy(split, places[name], group, 0, out)

        return Reader(pools, {name: place.about for name, place in places.items()}, copy, batch, prefetch)

    def sql(self, query: str) -> pa.Table:
        """Answer one SELECT over the views `rows`, `documents` and `shards`. Nothing outside the store can be read."""
        return views.answer(self.path, self.shards, query)

    def verify(self, progress: Progress | None = None) -> list[str]:
        """Every file against its marker: what is wrong, one line each; nothing when the store is whole."""
        return check.problems(self.path, progress)

    def _checked(self, split: str, site: str, number: int) -> Path:
        marker = self.shards[split][site][number]
        path = shard_path(self.path, split, site, number)
        shard.check(path, marker.bytes, marker.crc32)
        return path

    def _require_split(self, split: str) -> str:
        if split not in self.shards:
            raise StoreError(f"{self.path} has no {split!r} rows. It holds: {', '.join(self.splits)}.")
        return split


def _from_manifest(path: Path, info: StoreInfo) -> Shards:
    if not (path / "manifest.json").is_file():
        raise StoreError(f"{path} is not finished: its harvest was stopped.\n  fix:   run the same harvest again")
    manifest = read_json(Manifest, path / "manifest.json")
    if manifest.hash != info.hash:
        raise StoreError(f"{path} mixes two stores: manifest.json is of {manifest.hash}, store.json of {info.hash}.")
    return manifest.shards


def _from_markers(path: Path, info: StoreInfo) -> Shards:
    shards: Shards = {}
    for split in SPLITS:
        by_site = {site: markers(path, split, site) for site in info.sites}
        common = min(len(found) for found in by_site.values())
        if common:
            shards[split] = {site: found[:common] for site, found in by_site.items()}
    return shards


def _require_lock_step(path: Path, split: str, by_site: dict[str, list[Marker]], info: StoreInfo) -> None:
    """Every site has the same rows in the same shards, one shard after the other."""
    places = {tuple((marker.first_row, marker.rows) for marker in found) for found in by_site.values()}
    starts = [0, *accumulate(rows for place in places for _, rows in place)]
    firsts = [first for place in places for first, _ in place]
    whole = len(places) == 1 and firsts == starts[:-1]
    if split not in SPLITS or set(by_site) != set(info.sites) or not whole:
        raise StoreError(f"{path}: manifest.json and store.json do not describe the same {split} rows.")
