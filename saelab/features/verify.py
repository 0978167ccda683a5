"""Whether every file of an index is the one that was written: size and crc32 of each part and of the database."""

import json
from pathlib import Path
from typing import Any

from saelab.contracts import Progress, Silent
from saelab.features import marked
from saelab.features.generation import Generation


def problems(generation: Generation, progress: Progress | None = None) -> list[str]:
    """One line per file that is missing, cut short or altered, naming the way to mend it."""
    root, told = generation.layout.root, progress or Silent()
    try:
        manifest = json.loads((root / "index.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return [f"{root / 'index.json'} is missing or damaged: run `saelab index` again"]
    if manifest["parts"] != generation.layout.parts.name:
        return [f"{root / 'index.json'} is of another build than CURRENT: run `saelab index` again"]
    files: dict[Path, dict[str, Any] | None] = {root / name: known for name, known in manifest["files"].items()}
    files[generation.path] = marked.facts(generation.path)
    told.start("checking", len(files), "files")
    found = []
    for path, known in files.items():
        found += _problems_of(path, known)
        told.advance(1)
    return found


def _problems_of(path: Path, known: dict[str, Any] | None) -> list[str]:
    if not path.is_file():
        return [f"{path} is missing: run `saelab index` again"]
    if known is None or path.stat().st_size != known["bytes"]:
        return [f"{path} has another size than it was written with: run `saelab index` again"]
    if marked.crc32(path) != known["crc32"]:
        mend = f"delete it and {marked.marker(path).name}, and run `saelab index` again"
        return [f"{path} has been altered (crc32 differs): {mend}"]
    return []
