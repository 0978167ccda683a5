"""`verify`: every file of a store against its marker and the manifest, without stopping at the first problem."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from saelab import sealed
from saelab.contracts import Progress, Silent
from saelab.errors import StoreError
from saelab.store import shard
from saelab.store.layout import Manifest, Marker, StoreInfo, documents_path, read_json, shard_path


def problems(path: Path, progress: Progress | None = None) -> list[str]:
    """What is wrong with the store at `path`, one line each."""
    progress = progress or Silent()
    try:
        info = read_json(StoreInfo, path / "store.json")
        manifest = read_json(Manifest, path / "manifest.json")
    except StoreError as error:
        return [str(error)]
    found = [] if info.content_hash() == info.hash == manifest.hash else [f"{path}/store.json: changed since harvest"]
    found += sealed.problems(path / "store.json") + sealed.problems(path / "manifest.json")
    listed = files(path, manifest)
    progress.start(f"verify {path}", len(listed), "files")
    for file, marker in listed:
        found += _problems_of(file, marker)
        progress.advance(1)
    return found


def files(path: Path, manifest: Manifest) -> list[tuple[Path, Marker]]:
    """Every parquet file of the store, with its marker."""
    listed = [(documents_path(path, split), marker) for split, marker in manifest.documents.items()]
    for split, by_site in manifest.shards.items():
        for site, found in by_site.items():
            listed += [(shard_path(path, split, site, number), marker) for number, marker in enumerate(found)]
    return listed


def _problems_of(file: Path, marker: Marker) -> list[str]:
    beside = file.with_suffix(".json")
    try:
        if read_json(Marker, beside) != marker:
            return [f"{beside}: not what the manifest says"]
        if altered := sealed.problems(beside):
            return altered
        shard.require_size(file, marker.bytes)
        if sealed.digest(file)["crc32"] != marker.crc32:
            return [f"{file}: its checksum is not what its marker says"]
        rows = pq.read_metadata(file).num_rows
    except (StoreError, OSError, pa.ArrowException) as error:
        return [str(error).splitlines()[0]]
    return [] if rows == marker.rows else [f"{file}: {rows} rows, but its marker says {marker.rows}"]
