"""What tests of refusals share."""

import json
from pathlib import Path

import pytest

from saelab.errors import FormatError
from saelab.interop import import_saes


def refused(path: Path, match: str, **options: str) -> None:
    out = path.parent / "ours"
    with pytest.raises(FormatError, match=match):
        import_saes(path, out, **options)
    assert not out.exists()
    assert not out.with_name("ours.tmp").exists()


def edit(path: Path, **changes: object) -> None:
    """Change keys of a JSON file; None takes one out."""
    values = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}), encoding="utf-8")
