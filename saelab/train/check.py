"""`verify` of a training's folder: what it needs to go on, and what it says of itself."""

from pathlib import Path
from typing import Any

from saelab import sealed
from saelab.train.normalise import CACHE
from saelab.train.record import RECORD
from saelab.train.sites import SCALES
from saelab.train.state import MARKER, problems_of_state


def problems(folder: Path) -> list[str]:
    """One line per damaged file; nothing for a folder that no training wrote to.

    What a training that goes on has written since its last save is not looked at.
    """
    ours = [folder / RECORD, folder / "state" / MARKER, folder / CACHE, folder / SCALES]
    found = [line for path in ours if path.is_file() for line in sealed.problems(path)]
    return [*found, *_of_listed(folder), *problems_of_state(folder / "state")]


def _of_listed(folder: Path) -> list[str]:
    """Files that training.json was written with."""
    try:
        listed: dict[str, Any] = sealed.read(folder / RECORD).get("files", {})
    except (FileNotFoundError, ValueError):
        return []
    lost = [f"{folder / name} is missing" for name in listed if not (folder / name).is_file()]
    there = {name: known for name, known in listed.items() if (folder / name).is_file()}
    altered = [name for name, known in there.items() if sealed.digest(folder / name) != known]
    return [*lost, *(f"{folder / name} is not the file that {RECORD} was written with" for name in altered)]
