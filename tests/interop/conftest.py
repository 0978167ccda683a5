"""The planted world as a run, for what is exported of its features."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from planted_features import CONTEXTS, ROWS, SMALL, Unembedding, planted_sae, planted_store

from saelab.features import Index, build_index

SETTINGS = SMALL.model_copy(update={"top": 1})


@pytest.fixture(scope="module")
def no_waiting_for_the_disk() -> Iterator[None]:
    """What survives a power cut cannot be tested here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("saelab.atomic._fsync", lambda path: None)
        yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """A run: store, checkpoint and index, with a label by a person."""
    run = tmp_path_factory.mktemp("run")
    sae, store = planted_sae(run / "sae" / "planted.1"), planted_store(run / "store", ROWS, CONTEXTS)
    index = build_index(sae, store, run / "index" / "planted.1", Unembedding(), cfg=SETTINGS)
    index.note(0, "begins a context", "")
    return sae


@pytest.fixture(scope="session")
def index(checkpoint) -> Index:
    return Index.open(checkpoint.parent.parent / "index" / checkpoint.name)
