"""What `saelab import` and `saelab export` are asked, and how they say what they did."""

import re
from dataclasses import asdict
from typing import Any

from saelab.cli.output import console, table
from saelab.errors import FormatError
from saelab.interop import Converted, ConvertedFeatures


def feature_range(text: str | None, of_features: bool) -> range | None:
    """What --features says: A-B, both included, or one number. Raises FormatError for anything else."""
    if text is None:
        return None
    if not of_features:
        raise FormatError("--features is for formats of features; this one holds the weights of a whole SAE.")
    match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", text)
    if match is None or int(match[1]) > int(match[2] or match[1]):
        raise FormatError(f"--features {text!r} is no range of features. Write A-B, as in 0-99, or one number.")
    return range(int(match[1]), int(match[2] or match[1]) + 1)


def show(title: str, found: Converted | ConvertedFeatures) -> None:
    """The SAEs, and below them what was converted, or left open."""
    table(title, *found.table())
    for line in found.notes():
        console.print(f"- {line}", markup=False)


def as_json(found: Converted | ConvertedFeatures) -> dict[str, Any]:
    """The same for --json."""
    return asdict(found)
