"""What features stand for: `labels.json` in the index folder, {"12": {"label": "comment", "f1": 0.93}, ...}.

It is a file of its own because it comes later than the index and from elsewhere: `saelab label`, or an evaluation; who
wrote last, wrote it all. What a person says of a feature stands in `notes`, and comes first. Beside these two keys,
"precision", "recall", "threshold", "covers" and "kind" are read when they are there.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saelab import sealed
from saelab.errors import FeatureIndexError
from saelab.features.records import Label

NAME = "labels.json"


def write_labels(path: Path, labels: Mapping[int, Mapping[str, Any]]) -> None:
    """Replace the labels of the index at `path` (its folder)."""
    sealed.write(path / NAME, {str(feature): dict(labels[feature]) for feature in sorted(labels, key=int)})


def read_labels(path: Path) -> dict[int, Label]:
    """The labels of the index at `path`; none when nobody has written any."""
    file = path / NAME
    try:
        values = sealed.read(file)
        return {int(feature): _label(value) for feature, value in values.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FeatureIndexError(
            f'{file} is not a mapping of FEATURE to {{"label": TEXT, "f1": NUMBER}}: {error!r}\n'
            "  fix:   mend or delete it; `saelab label` writes it anew"
        ) from None


def _label(value: Mapping[str, Any]) -> Label:
    figures = {name: _number(value.get(name)) for name in ("f1", "precision", "recall", "threshold", "covers")}
    return Label(str(value["label"]), **figures, kind=str(value["kind"]) if value.get("kind") else None)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


class Labels:
    """The labels of one index, read again when the file has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._labels: dict[int, Label] = {}

    def all(self) -> dict[int, Label]:
        """Every label there is now."""
        seen = self._stamp()
        if seen != self._seen:
            self._labels, self._seen = read_labels(self._path), seen
        return self._labels

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            status = os.stat(self._path / NAME)
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size
