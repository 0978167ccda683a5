"""What a person wrote of features: `notes.json` in the index folder, read by every page and written by few.

    {"format": 1, "weights": SHA256, "notes": {"12": {"label": TEXT, "note": TEXT, "changed": "2026-01-31T12:00:00Z"}}}

A build never touches it. It is of certain weights: with others it is not shown, and the first note that is written then
puts it aside as notes-WEIGHTS.json. A damaged file is told of and never written over.
"""

import json
import os
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from saelab.atomic import write_json
from saelab.errors import FeatureIndexError
from saelab.locks import in_turn

NAME = "notes.json"
FORMAT = 1
LONGEST_LABEL, LONGEST_NOTE = 120, 5000  # characters


@dataclass(frozen=True)
class Note:
    """A label and a note of one feature, either of which may be empty, and when (UTC) they were written."""

    label: str
    text: str
    changed: str


@dataclass(frozen=True)
class Notebook:
    """All notes of an index, or why they cannot be shown."""

    notes: dict[int, Note] = field(default_factory=dict)
    problem: str | None = None
    weights: str | None = None


def read_notes(path: Path, weights: str) -> Notebook:
    """The notes in the index folder `path`, whose SAE has these weights. Never raises for what the file holds."""
    file = path / NAME
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise ValueError(f"format {values['format']!r}, this saelab reads {FORMAT}")
        notes = {int(feature): _note(value) for feature, value in values["notes"].items()}
        of = str(values["weights"])
    except FileNotFoundError:
        return Notebook()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"[:200]
        return Notebook(
            problem=f"{file} holds no notes that can be read: {why}\n  fix:   mend it, or move it away to begin anew"
        )
    if of != weights:
        return Notebook(
            weights=of,
            problem=f"{file} is of other weights than these and is not shown.\n"
            f"  notes: of weights {of[:16]}\n  SAE:   weights {weights[:16]}\n"
            "  fix:   none needed; the next note that is written puts it aside and begins anew",
        )
    return Notebook(notes, None, of)


def _note(value: dict[str, Any]) -> Note:
    label, text, changed = value["label"], value["note"], value["changed"]
    if not (isinstance(label, str) and isinstance(text, str) and isinstance(changed, str)):
        raise TypeError("a label or note is no text")
    return Note(label[:LONGEST_LABEL], text[:LONGEST_NOTE], changed[:40])


def write_note(path: Path, weights: str, feature: int, label: str, text: str) -> None:
    """Keep a label and a note of one feature; both empty removes them.

    Raises FeatureIndexError when one is too long, and when the file that is there cannot be read.
    """
    for name, value, longest in (("label", label, LONGEST_LABEL), ("note", text, LONGEST_NOTE)):
        if len(value) > longest:
            raise FeatureIndexError(f"the {name} has {len(value):,} characters, {longest:,} are kept at most: cut it.")
    with in_turn(path / NAME):
        held = read_notes(path, weights)
        if held.problem is not None and held.weights is None:
            raise FeatureIndexError(f"the note was not written.\n{held.problem}")
        if held.weights not in (None, weights):
            os.replace(path / NAME, path / f"notes-{str(held.weights)[:16]}.json")
        notes = dict(held.notes)
        notes.pop(feature, None)
        if label.strip() or text.strip():
            now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
            notes[feature] = Note(label.strip(), text.strip(), now)
        plain = {str(n): {"label": o.label, "note": o.text, "changed": o.changed} for n, o in sorted(notes.items())}
        write_json(path / NAME, {"format": FORMAT, "weights": weights, "notes": plain})


class Notes:
    """The notes of one index, read again when the file has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[Any, ...] = ()
        self._book = Notebook()

    def all(self, weights: str) -> Notebook:
        """Every note there is now."""
        seen = (weights, *_stamp(self._path / NAME))
        if seen != self._seen:
            self._book, self._seen = read_notes(self._path, weights), seen
        return self._book


def _stamp(file: Path) -> tuple[int, ...]:
    try:
        status = os.stat(file)
    except OSError:
        return (0,)
    return status.st_mtime_ns, status.st_ino, status.st_size
