"""Whether every file of an index is the one that was written: size and crc32 of each part and of the database."""

from pathlib import Path
from typing import Any

from saelab import sealed
from saelab.contracts import Progress, Silent
from saelab.errors import FeatureIndexError
from saelab.features import labels, marked
from saelab.features.generation import Generation


def problems(generation: Generation, progress: Progress | None = None) -> list[str]:
    """One line per file that is missing, cut short or altered, naming the way to mend it."""
    root, told = generation.layout.root, progress or Silent()
    try:
        manifest = sealed.read(root / "index.json")
    except (FileNotFoundError, ValueError):
        return [f"{root / 'index.json'} is missing or damaged: run `saelab index` again"]
    if manifest["parts"] != generation.layout.parts.name:
        return [f"{root / 'index.json'} is of another build than CURRENT: run `saelab index` again"]
    files: dict[Path, dict[str, Any] | None] = {root / name: known for name, known in manifest["files"].items()}
    files[generation.path] = marked.facts(generation.path)
    told.start("checking", len(files), "files")
    found = _of_pointers(root)
    for path, known in files.items():
        found += _problems_of(path, known)
        told.advance(1)
    return found


def _of_pointers(root: Path) -> list[str]:
    """Of the small files that name the others; labels may have been written by hand."""
    both = sealed.problems(root / "index.json") + sealed.problems(root / "CURRENT")
    found = [f"{line}: run `saelab index` again" for line in both]
    try:
        labels.read_labels(root)
    except FeatureIndexError as error:
        found.append(str(error))
    return found


def _problems_of(path: Path, known: dict[str, Any] | None) -> list[str]:
    if not path.is_file():
        return [f"{path} is missing: run `saelab index` again"]
    if known is None or path.stat().st_size != known["bytes"]:
        return [f"{path} has another size than it was written with: run `saelab index` again"]
    if sealed.digest(path)["crc32"] != known["crc32"]:
        mend = f"delete it and {marked.marker(path).name}, and run `saelab index` again"
        return [f"{path} has been altered (crc32 differs): {mend}"]
    return [f"{line}: delete it and run `saelab index` again" for line in sealed.problems(marked.marker(path))]
