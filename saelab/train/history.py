"""What a folder's trainings have come to: their checkpoints, those kept on the way among them, and their curves.

Reads files only, also those that a training is writing at this moment.
"""

import json
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from saelab.errors import TrainError
from saelab.train.metrics_log import read_metrics
from saelab.train.record import KEPT, RECORD

METRICS = "metrics.jsonl"
WEIGHTS = "sae_weights.safetensors"
AT_WORK = 90.0  # seconds since the last line after which an unfinished training is said to stand still


@dataclass(frozen=True)
class Kept:
    """One checkpoint of a training: after how many steps and rows, and what was measured then on held-out rows."""

    folder: Path
    step: int
    rows: int
    fvu: float | None
    l0: float | None


@dataclass(frozen=True)
class Training:
    """One SAE's training. `quiet` counts seconds since it last wrote a line; `checkpoints` are in order of steps."""

    run: str
    name: str
    folder: Path
    variant: str
    rows: int
    rows_wanted: int | None
    finished: bool
    quiet: float | None
    heldout: dict[str, Any]
    checkpoints: tuple[Kept, ...]

    @property
    def state(self) -> str:
        """finished, training, or stopped: what has written nothing for a while, and can be gone on with."""
        if self.finished:
            return "finished"
        return "training" if self.quiet is not None and self.quiet < AT_WORK else "stopped"


@dataclass(frozen=True)
class Curve:
    """One figure over the rows it was taken at."""

    rows: tuple[int, ...]
    values: tuple[float, ...]

    def thinned(self, most: int) -> "Curve":
        """At most `most` points, evenly chosen, the first and the last among them."""
        if len(self.rows) <= most:
            return self
        at = np.linspace(0, len(self.rows) - 1, most).astype(int)
        return Curve(tuple(self.rows[i] for i in at), tuple(self.values[i] for i in at))


def trainings(folder: Path) -> list[Training]:
    """The trainings of the run `folder`, or of the runs in it, by name; none where nothing was trained."""
    records = sorted(folder.glob(f"sae/*/{RECORD}")) or sorted(folder.glob(f"*/sae/*/{RECORD}"))
    return [_training(record) for record in records if not _is_kept(record.parent)]


def training_of(checkpoint: Path) -> Path:
    """The folder of the training that wrote a checkpoint: of one kept on the way, its neighbour's."""
    return checkpoint.with_name(re.sub(re.escape(KEPT) + r"\d+$", "", checkpoint.name))


def curves(folder: Path) -> dict[str, Curve]:
    """Every figure in a training's metrics.jsonl, held-out ones as `heldout fvu`; a line being written is left out.

    Raises TrainError for a line that is no JSON.
    """
    path = folder / METRICS
    try:
        status = path.stat()
    except FileNotFoundError:
        return {}
    return _curves(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=32)
def _curves(path: Path, mtime_ns: int, size: int) -> dict[str, Curve]:
    """Read once per state of the file."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    try:
        lines = read_metrics(path)
    except ValueError as error:
        raise TrainError(f"{path} holds a line that is no JSON: {error}\n  fix:   delete that line") from None
    for line in lines:
        for name, value in _figures(line):
            rows, values = found.setdefault(name, ([], []))
            rows.append(int(line["rows"]))
            values.append(value)
    return {name: Curve(tuple(rows), tuple(values)) for name, (rows, values) in found.items()}


def _figures(line: dict[str, Any], before: str = "") -> list[tuple[str, float]]:
    """(name, number) of a line; those of nested objects are named by both: `heldout fvu`."""
    found: list[tuple[str, float]] = []
    for name, value in line.items():
        if isinstance(value, dict):
            found += _figures(value, f"{before}{name} ")
        elif isinstance(value, int | float) and not isinstance(value, bool) and name not in ("step", "rows"):
            found.append((before + name, float(value)))
    return found


def _training(record: Path) -> Training:
    folder, told = record.parent, _json(record)
    settings = told.get("settings") or {}
    heldout = told.get("heldout") or {}
    last = curves(folder)
    reached = max((curve.rows[-1] for curve in last.values()), default=0)
    return Training(
        run=folder.absolute().parent.parent.name,
        name=folder.name,
        folder=folder,
        variant=str((settings.get("sae") or {}).get("variant") or ""),
        rows=int(told.get("rows") or reached),
        rows_wanted=(settings.get("train") or {}).get("rows"),
        finished=bool(told.get("finished", (folder / WEIGHTS).is_file())),
        quiet=_quiet(folder / METRICS),
        heldout=heldout or {name: curve.values[-1] for name, curve in _heldout(last)},
        checkpoints=_checkpoints(folder),
    )


def _heldout(known: dict[str, Curve]) -> list[tuple[str, Curve]]:
    return [(name.removeprefix("heldout "), curve) for name, curve in known.items() if name.startswith("heldout ")]


def _quiet(path: Path) -> float | None:
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except FileNotFoundError:
        return None


def _checkpoints(folder: Path) -> tuple[Kept, ...]:
    """Those kept on the way, then the last; only what is whole."""
    beside = [path for path in folder.parent.glob(f"{folder.name}{KEPT}*") if _is_kept(path)]
    found = [_kept(path) for path in [*beside, folder] if (path / "cfg.json").is_file()]
    return tuple(sorted(found, key=lambda kept: (kept.step, kept.folder.name)))


def _kept(folder: Path) -> Kept:
    told = _json(folder / RECORD)
    heldout, rows = told.get("heldout") or {}, int(told.get("rows") or 0)
    batch = ((told.get("settings") or {}).get("train") or {}).get("batch") or 1
    step = int(told.get("step") or rows // batch)
    return Kept(folder, step, rows, heldout.get("fvu"), heldout.get("l0"))


def _is_kept(folder: Path) -> bool:
    return training_of(folder) != folder


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
