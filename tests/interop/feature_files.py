"""How tests read the files that features are written to."""

import gzip
import json
from pathlib import Path


def lines(path: Path) -> list[dict]:
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in text.splitlines()]


def record(folder: Path, layer: int, feature: int) -> dict | None:
    """As circuit-tracer's viewer reads it: index, range of bytes, length, gzip."""
    held = json.loads(gzip.decompress((folder / "features" / "index.json.gz").read_bytes()))[str(layer)]
    start, end = held["offsets"][feature : feature + 2]
    found = (folder / "features" / held["filename"]).read_bytes()[start:end]
    if not found:
        return None
    length = int.from_bytes(found[:4], "little")
    assert length == len(found) - 4
    return json.loads(gzip.decompress(found[4:]))
