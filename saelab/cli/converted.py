"""How `saelab import` and `saelab export` say what they did."""

from dataclasses import asdict
from typing import Any

from saelab.cli.output import console, table
from saelab.interop import Converted


def show(title: str, found: Converted) -> None:
    """The SAEs, and below them what was converted."""
    table(title, *found.table())
    for line in found.notes():
        console.print(f"- {line}", markup=False)


def as_json(found: Converted) -> dict[str, Any]:
    """The same for --json."""
    return asdict(found)
