"""Where things lie in a store, and the JSON that says so.

    STORE/store.json                       what was asked for: settings, model, corpus, sites
    STORE/<split>/<site>/000000.parquet    rows; 000000.json beside it is written last and proves them finished
    STORE/<split>/documents.parquet        number and name of each document
    STORE/manifest.json                    every marker once more, written when all shards are there

Nothing here holds a time, a path or a host: the same request gives the same bits anywhere.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from pydantic import Field, ValidationError, model_serializer

from saelab import sealed
from saelab.config import Settings, content_hash
from saelab.contracts import NAME
from saelab.errors import StoreError

FORMAT: Literal[1] = 1
SPLITS = ("train", "heldout")
GROUP_BYTES = 4 * 2**20  # a row group of one site: 2 to 16 MB read at full speed, more of them shuffle better
DTYPES: dict[str, torch.dtype] = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
}
META_BYTES = 20  # of a row beside its activations: doc, pos, ctx, token, norm
GRADIENT = ".gradient"  # behind a site's name: the column of gradients beside its rows


class SiteInfo(Settings):
    """One site of a store."""

    d: int = Field(gt=0, le=2**20, description="Width of a row.")
    dtype: Literal["bfloat16", "float16", "float32"]
    gradient: Literal["bfloat16", "float32"] | None = Field(
        None, description="What the gradients beside the rows are stored as; null: there are none."
    )

    @model_serializer(mode="wrap")
    def _without_an_absent_column(self, plain: Callable[["SiteInfo"], dict[str, Any]]) -> dict[str, Any]:
        """A site without gradients is written as before there were any: its store keeps its hash and its bits."""
        return {key: value for key, value in plain(self).items() if key != "gradient" or value is not None}

    @property
    def row_bytes(self) -> int:
        return self.d * DTYPES[self.dtype].itemsize

    @property
    def gradients(self) -> "SiteInfo | None":
        """The column of gradients, as if it were a site."""
        return None if self.gradient is None else SiteInfo(d=self.d, dtype=self.gradient)


class Marker(Settings):
    """One finished file: what it holds, its size and checksum, and its place in the split."""

    rows: int = Field(ge=0)
    bytes: int = Field(gt=0)
    crc32: int = Field(ge=0, lt=2**32)
    first_row: int = Field(0, ge=0)
    first_ctx: int = Field(0, ge=0)
    contexts: int = Field(0, ge=0)


class StoreInfo(Settings):
    """What a store was made from. Two stores with the same `hash` hold the same rows."""

    format: Literal[1]
    hash: str
    config: dict[str, Any]
    model: dict[str, Any]
    sites: dict[str, SiteInfo] = Field(min_length=1)
    corpus: dict[str, Any]
    row_group: int = Field(gt=0, description="Rows of a row group, the same at every site.")

    def identity(self) -> dict[str, Any]:
        """All that decides about the rows. A model and a corpus count by fingerprint, not by where they were found."""
        return self.model_dump(mode="json", exclude={"hash": True, "config": {"model"}, "model": {"name"}})

    def content_hash(self) -> str:
        return content_hash(self.identity())


class Manifest(Settings):
    """Every marker of a complete store: shards[split][site] and documents[split]."""

    format: Literal[1]
    hash: str
    shards: dict[str, dict[str, list[Marker]]]
    documents: dict[str, Marker]


S = TypeVar("S", bound=Settings)


def read_json(model: type[S], path: Path) -> S:
    """The JSON at `path`. Raises StoreError when it is not there or not what saelab writes."""
    try:
        return model.model_validate(sealed.read(path))
    except FileNotFoundError:
        raise StoreError(f"{path}: there is no such file.") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise StoreError(f"{path} is damaged or of another format: {place} {first['msg']}".strip()) from None
    except ValueError as error:
        raise StoreError(f"{path} is damaged or of another format: {error}") from None


def safe_name(text: str) -> str:
    """`text`, when it can be a folder's name inside the store and nothing else. Raises StoreError otherwise."""
    if not NAME.fullmatch(text) or ".." in text:
        raise StoreError(
            f"{text!r} cannot name a folder: up to 100 letters, digits, '.', '_' and '-', no '..', no slash."
        )
    return text


def gradient_of(site: str) -> str:
    """What the gradients of the model's loss in a site's rows are called, where rows are asked for by name."""
    return site + GRADIENT


def gradient_dtype(dtype: str) -> str:
    """What gradients beside rows of `dtype` are stored as: float16 has no room for numbers as small as they are."""
    return "float32" if dtype == "float32" else "bfloat16"


def shard_path(root: Path, split: str, site: str, shard: int) -> Path:
    """The parquet file of one shard."""
    return root / split / safe_name(site) / f"{shard:06d}.parquet"


def documents_path(root: Path, split: str) -> Path:
    return root / split / "documents.parquet"


def finished(path: Path) -> Marker | None:
    """The marker of a parquet file; None when it has no readable one, or another size than the marker says."""
    try:
        marker = read_json(Marker, path.with_suffix(".json"))
    except StoreError:
        return None  # not proven finished: it will be written again
    return marker if path.is_file() and path.stat().st_size == marker.bytes else None


def markers(root: Path, split: str, site: str) -> list[Marker]:
    """The finished shards 0, 1, 2, … of one site, up to the first that is missing."""
    found: list[Marker] = []
    while (marker := finished(shard_path(root, split, site, len(found)))) is not None:
        found.append(marker)
    return found


def group_rows(row_bytes: int) -> int:
    """Rows of a row group: the power of two whose rows come nearest to GROUP_BYTES, 256 to 16,384."""
    rows = 256
    while rows < 16_384 and rows * row_bytes * 2**0.5 < GROUP_BYTES:
        rows *= 2
    return rows
