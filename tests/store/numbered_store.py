"""Stores whose every row says where it stands: row r of a split holds [r, -r, 0, …] in float32."""

from pathlib import Path

import torch

from saelab.store import ShardColumns, StoreWriter

SHARDS = (600, 600, 500)
REQUEST = {
    "config": {"model": "pico", "tokens": 1700},
    "model": {"name": "pico", "fingerprint": "aa"},
    "corpus": {"fingerprint": "cc"},
}


def columns(first: int, rows: int) -> ShardColumns:
    """Ten rows a context, a hundred a document."""
    r = torch.arange(first, first + rows, dtype=torch.int32)
    return ShardColumns(
        doc=r // 100, pos=r % 100, ctx=r // 10, token=r % 7, first_row=first, first_ctx=first // 10, contexts=rows // 10
    )


def numbered(first: int, rows: int, width: int) -> torch.Tensor:
    out = torch.zeros(rows, width)
    out[:, 0] = torch.arange(first, first + rows)
    out[:, 1] = -out[:, 0]
    return out


def begin(path: Path, **changes) -> StoreWriter:
    return StoreWriter.begin(path, **{**REQUEST, "sites": {"a": 2, "b": 4}, "dtype": "float32", **changes})


def fill(writer: StoreWriter, split: str = "train", shards: tuple[int, ...] = SHARDS) -> None:
    """Write every shard that is not done, and the documents."""
    first = 0
    for number, rows in enumerate(shards):
        if not writer.done(split, number):
            acts = {site: numbered(first, rows, info.d) for site, info in writer.info.sites.items()}
            writer.write_shard(split, number, columns(first, rows), acts)
        first += rows
    writer.write_documents(split, {doc: f"doc-{doc}" for doc in range(-(-first // 100))})
