"""JSON files that notice when they were altered: the last key, `seal`, is the crc32 of every byte before it.

Reading one without that key is allowed, for other programs and people write JSON as well; `verify` asks for it where
saelab always writes it.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saelab.atomic import write_bytes

KEY = b'\n "seal": '


def write(path: Path, values: Mapping[str, Any]) -> None:
    """Put `values` at `path`. Raises DiskFull, nothing left behind, when it does not fit."""
    body = json.dumps(dict(values), indent=1, allow_nan=False)[:-2].encode() + b"," if values else b"{"
    write_bytes(path, body + _end(body))


def read(path: Path) -> dict[str, Any]:
    """The object at `path`, without its checksum.

    Raises FileNotFoundError, and ValueError for what is no JSON object or was altered.
    """
    content = path.read_bytes()
    try:
        values = json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(values, dict):
        raise ValueError(f"an object was expected, not {type(values).__name__}")
    if "seal" in values and not _whole(content):
        raise ValueError("it was altered since saelab wrote it (who did so on purpose takes the line `seal` out)")
    return {key: value for key, value in values.items() if key != "seal"}


def problems(path: Path) -> list[str]:
    """What is wrong with a file that saelab sealed; nothing when it is whole."""
    try:
        return [] if _whole(path.read_bytes()) else [f"{path} has been altered (its seal differs)"]
    except FileNotFoundError:
        return [f"{path} is missing"]


def digest(path: Path) -> dict[str, int]:
    """{"bytes", "crc32"} of any file, read in pieces: what a sealed file says of the others. Raises OSError."""
    crc = 0
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            crc = zlib.crc32(piece, crc)
    return {"bytes": path.stat().st_size, "crc32": crc}


def _whole(content: bytes) -> bool:
    body = content.rpartition(KEY)[0]
    return bool(body) and content == body + _end(body)


def _end(body: bytes) -> bytes:
    return KEY + f"{zlib.crc32(body)}\n}}\n".encode()
