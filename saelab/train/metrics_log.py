"""metrics.jsonl: a JSON object per line, appended. It holds no times: a resumed run writes the same file."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class MetricsLog:
    """Appends to metrics.jsonl, and can go back to the step that a run resumes from."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def empty(self) -> bool:
        """Whether nothing has been written yet."""
        return not self.path.exists() or not self.path.stat().st_size

    def write(self, line: Mapping[str, Any]) -> None:
        """Append one line; it must hold `step`."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def sync(self) -> None:
        """Bring what was written to the disk, before a state is saved that presumes it."""
        if self.path.exists():
            with self.path.open("rb") as file:
                os.fsync(file.fileno())

    def truncate(self, step: int) -> None:
        """Drop what a killed run wrote after `step`, a line cut in the middle included."""
        if not self.path.exists():
            return
        end = 0
        with self.path.open("rb+") as file:
            for line in file:
                if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                    break
                end += len(line)
            file.truncate(end)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Every whole line of a metrics.jsonl, also while a run writes it."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
