"""What SQL sees of a store: `rows` (with split and site), `documents` (with split) and `shards` (every marker)."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from saelab.errors import StoreError
from saelab.store.layout import Marker, documents_path, shard_path
from saelab.store.sandbox import connect, literal, select

SECONDS = 60.0  # a scan of every row's columns: a store of 10^9 rows takes seconds, not minutes


def answer(path: Path, shards: Mapping[str, Mapping[str, Sequence[Marker]]], query: str) -> pa.Table:
    """The answer to one SELECT over the store at `path`."""
    root = path.resolve()
    connection = connect(None, [root], seconds=SECONDS)
    try:
        rows = [
            f"select {literal(split)} as split, {literal(site)} as site, * from "
            f"{_parquet(shard_path(root, split, site, number) for number in range(len(found)))}"
            for split, by_site in shards.items()
            for site, found in by_site.items()
        ]
        documents = [
            f"select {literal(split)} as split, * from {_parquet([documents_path(root, split)])}" for split in shards
        ]
        connection.execute(f"create view rows as {' union all '.join(rows)}")
        connection.execute(f"create view documents as {' union all '.join(documents)}")
        connection.register("shards", _shards(shards))
        return select(connection, query, StoreError)
    finally:
        connection.close()


def _parquet(files: Iterable[Path]) -> str:
    return f"read_parquet([{', '.join(literal(str(file)) for file in files)}])"


def _shards(shards: Mapping[str, Mapping[str, Sequence[Marker]]]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"split": split, "site": site, "shard": number, **marker.model_dump()}
            for split, by_site in shards.items()
            for site, found in by_site.items()
            for number, marker in enumerate(found)
        ]
    )
