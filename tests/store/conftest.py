"""A finished store whose rows say where they stand."""

from collections.abc import Callable
from pathlib import Path

import pytest

from saelab.store import Store, layout

from .numbered_store import begin, fill


@pytest.fixture
def make_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Store]:
    """A finished store of three shards and two sites, with row groups of 256 rows."""
    monkeypatch.setattr(layout, "GROUP_BYTES", 1)

    def make(name: str = "store", **changes) -> Store:
        with begin(tmp_path / name, **changes) as writer:
            fill(writer)
            fill(writer, "heldout", (50,))
            return writer.finish()

    return make
