"""Write a store shard by shard. What is finished stays; what was interrupted is written again, to the same bits."""

import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
from jaxtyping import Float
from torch import Tensor

from saelab import atomic, sealed
from saelab.errors import StoreError, StoreMismatch
from saelab.locks import hold
from saelab.store import check, shard
from saelab.store.layout import (
    DTYPES,
    FORMAT,
    SPLITS,
    Manifest,
    Marker,
    SiteInfo,
    StoreInfo,
    documents_path,
    finished,
    gradient_dtype,
    gradient_of,
    group_rows,
    markers,
    read_json,
    safe_name,
    shard_path,
)
from saelab.store.shard import ShardColumns
from saelab.store.store import Store


class StoreWriter:
    """The one process that writes a store, from `begin` to the end of its `with` block.

    with StoreWriter.begin(path, config=…, model=…, corpus=…, sites={site: d}) as writer:
        if not writer.done("train", 0):
            writer.write_shard("train", 0, columns, {site: rows})
        writer.write_documents("train", {0: "name"})
        store = writer.finish()
    """

    def __init__(self, path: Path, info: StoreInfo, lock: int) -> None:
        self.path = path
        self.info = info
        self._lock = lock

    @classmethod
    def begin(
        cls,
        path: Path,
        *,
        config: Mapping[str, Any],
        model: Mapping[str, Any],
        corpus: Mapping[str, Any],
        sites: Mapping[str, int],
        dtype: str = "bfloat16",
        gradients: bool = False,
    ) -> "StoreWriter":
        """Begin a store at `path`, or go on with the one of the same request.

        With `gradients`, every site has a column of them beside its rows. Nothing is written before the first shard.
        Raises StoreMismatch, naming every setting that differs, when another request's store is there.
        """
        info = describe(config=config, model=model, corpus=corpus, sites=sites, dtype=dtype, gradients=gradients)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"{path} cannot be made: {error.strerror}.\n  fix:   set `out` to another folder"
            ) from None
        lock = hold(path, StoreError)
        try:
            atomic.sweep_tmp(path)
            if (path / "store.json").is_file():
                require_same(path, read_json(StoreInfo, path / "store.json"), info)
            elif any(path.iterdir()):
                raise StoreError(f"{path} holds other files.\n  fix:   a folder of its own for the store")
        except BaseException:
            os.close(lock)
            raise
        return cls(path, info, lock)

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not any(self.path.iterdir()):
            self.path.rmdir()  # nothing came of it
        os.close(self._lock)

    def complete(self) -> bool:
        """Whether the manifest is there and every file it lists is finished."""
        if not (self.path / "manifest.json").is_file():
            return False
        manifest = read_json(Manifest, self.path / "manifest.json")
        files = check.files(self.path, manifest)
        return manifest.hash == self.info.hash and all(finished(file) == marker for file, marker in files)

    def done(self, split: str, number: int) -> bool:
        """Whether this shard is finished at every site."""
        return all(finished(shard_path(self.path, split, site, number)) for site in self.info.sites)

    def bytes_done(self) -> int:
        """Bytes of all finished shards."""
        found = (markers(self.path, split, site) for split in SPLITS for site in self.info.sites)
        return sum(marker.bytes for of_site in found for marker in of_site)

    def write_shard(
        self, split: str, number: int, columns: ShardColumns, acts: Mapping[str, Float[Tensor, "rows _d"]]
    ) -> None:
        """Write one shard of every site; when this returns it is on the disk. Raises DiskFull and leaves no part.

        `acts` holds the rows of each site and, where the store has gradients, those under `gradient_of(site)`.
        """
        if not (self.path / "store.json").is_file():
            sealed.write(self.path / "store.json", self.info.model_dump(mode="json"))
        for site, info in self.info.sites.items():
            rows = acts[site].to(DTYPES[info.dtype])
            norm = shard.norms(rows)
            _require_finite(rows, norm, site, info)
            raw: dict[shard.Column, Tensor] = {"act": rows}
            if info.gradients is not None:
                raw["gradient"] = acts[gradient_of(site)].to(DTYPES[info.gradients.dtype])
                _require_finite(raw["gradient"], shard.norms(raw["gradient"]), gradient_of(site), info.gradients)
            path = shard_path(self.path, split, site, number)
            place = {name: getattr(columns, name) for name in ("first_row", "first_ctx", "contexts")}
            _write(path, shard.encode(columns, raw, norm, info, self.info.row_group), rows=len(rows), **place)

    def write_documents(self, split: str, names: Mapping[int, str]) -> None:
        """Write the names of a split's documents by number."""
        table = pa.table(
            [pa.array(names.keys(), pa.int32()), pa.array(names.values(), pa.string())], names=["doc", "name"]
        )
        _write(documents_path(self.path, split), shard.to_parquet(table, 1 << 20), rows=len(names))

    def finish(self) -> Store:
        """Write the manifest: from now on the store is complete. Raises StoreError when it holds no rows."""
        shards = {
            split: {site: self._all_markers(split, site) for site in self.info.sites}
            for split in SPLITS
            if (self.path / split).is_dir()
        }
        documents = {
            split: read_json(Marker, documents_path(self.path, split).with_suffix(".json")) for split in shards
        }
        if not shards:
            raise StoreError(f"{self.path}: nothing was written, so there is no store.")
        manifest = Manifest(format=FORMAT, hash=self.info.hash, shards=shards, documents=documents)
        sealed.write(self.path / "manifest.json", manifest.model_dump(mode="json"))
        return Store.open(self.path)

    def _all_markers(self, split: str, site: str) -> list[Marker]:
        found = markers(self.path, split, site)
        files = len(list(shard_path(self.path, split, site, 0).parent.glob("*.parquet")))
        if files != len(found):
            raise StoreError(f"{self.path}: {split}/{site} has {files} shards, but only {len(found)} are finished.")
        return found


def describe(
    *,
    config: Mapping[str, Any],
    model: Mapping[str, Any],
    corpus: Mapping[str, Any],
    sites: Mapping[str, int],
    dtype: str = "bfloat16",
    gradients: bool = False,
) -> StoreInfo:
    """What store.json says of a request."""
    kept = {"dtype": dtype, "gradient": gradient_dtype(dtype) if gradients else None}
    about = {safe_name(site): SiteInfo.model_validate({"d": d, **kept}) for site, d in sites.items()}
    widest = max(info.row_bytes for info in about.values())
    info = StoreInfo(
        format=FORMAT,
        hash="",
        config=dict(config),
        model=dict(model),
        corpus=dict(corpus),
        sites=about,
        row_group=group_rows(widest),
    )
    return info.model_copy(update={"hash": info.content_hash()})


def require_same(path: Path, there: StoreInfo, asked: StoreInfo) -> None:
    """Raise StoreMismatch unless both describe the same rows."""
    if there.identity() == asked.identity():
        return
    old, new = _flat(there.model_dump(mode="json")), _flat(asked.model_dump(mode="json"))
    differ = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key) and key != "hash"]
    lines = "".join(f"  {key}: the store has {old.get(key)!r}, asked for is {new.get(key)!r}\n" for key in differ)
    raise StoreMismatch(
        f"{path} was harvested from another request:\n{lines}"
        f"  fix:   set `out` to another folder, delete {path}, or ask for what it holds"
    )


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        return {prefix: values}
    return {key: value for name, inner in values.items() for key, value in _flat(inner, _join(prefix, name)).items()}


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _write(path: Path, data: pa.Buffer, **about: int) -> None:
    atomic.write_bytes(path, data)
    marker = Marker(bytes=data.size, crc32=zlib.crc32(data), **about)
    sealed.write(path.with_suffix(".json"), marker.model_dump())


def _require_finite(rows: Float[Tensor, "rows d"], norm: Float[Tensor, "rows"], site: str, info: SiteInfo) -> None:
    if not norm.isfinite().all() and not rows.isfinite().all():  # a norm may also overflow
        raise StoreError(
            f"{site} has values that {info.dtype} cannot hold (infinite or not a number).\n"
            f"  fix:   set dtype to bfloat16 or float32"
        )
