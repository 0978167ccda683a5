"""Files with a marker: `x.parquet` counts as done once `x.json` beside it holds its size and crc32."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from saelab import sealed
from saelab.atomic import aside, publish


def marker(path: Path) -> Path:
    """Where the marker of `path` lies."""
    return path.with_suffix(".json")


def facts(path: Path) -> dict[str, Any] | None:
    """The marker of `path`; None when the file is not done, or has not the size its marker says."""
    try:
        known = sealed.read(marker(path))
        return known if path.stat().st_size == known["bytes"] else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def put(path: Path, write: Callable[[Path], dict[str, Any] | None]) -> dict[str, Any]:
    """Let `write` fill a temporary file, publish it as `path`, and then its marker with what `write` returned."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with aside(path) as tmp:
        known = write(tmp) or {}
        whole = {**known, **sealed.digest(tmp)}
        publish(tmp, path)
    sealed.write(marker(path), whole)
    return whole


def put_table(path: Path, table: pa.Table, **more: Any) -> None:
    """Publish `table` as a parquet part; its marker also says `more`."""

    def write(tmp: Path) -> dict[str, Any]:
        pq.write_table(table, tmp, compression="zstd")
        return {"rows": table.num_rows, **more}

    put(path, write)
