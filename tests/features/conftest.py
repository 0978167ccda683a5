"""The planted world of planted_features.py as fixtures."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from planted_features import CONTEXTS, ROWS, SMALL, Unembedding, planted_sae, planted_store

from saelab.features import Index, build_index
from saelab.store import Store


@pytest.fixture(scope="module", autouse=True)  # other rooms test what happens when the disk is full
def no_waiting_for_the_disk() -> Iterator[None]:
    """What survives a power cut cannot be tested here, and waiting for it takes half of the time of a tiny build."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("saelab.atomic._fsync", lambda path: None)
        yield


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Store]:
    """The checkpoint and the store of the planted world."""
    folder = tmp_path_factory.mktemp("planted")
    return planted_sae(folder / "sae" / "planted"), planted_store(folder / "store", ROWS, CONTEXTS)


@pytest.fixture(scope="session")
def index(planted: tuple[Path, Store], tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Its index, with token strings and logit effects."""
    checkpoint, store = planted
    return build_index(checkpoint, store, tmp_path_factory.mktemp("index"), Unembedding(), cfg=SMALL)


@pytest.fixture
def rebuild(tmp_path: Path) -> Callable[..., Index]:
    """Build an index of rows given by hand, in `tmp_path / "index"`, without a language model."""

    def built(rows: list[list[float]], contexts: list[int], scale: float = 1.0, **settings) -> Index:
        d = len(rows[0])
        store = planted_store(tmp_path / f"store-{len(rows)}", rows, contexts)
        checkpoint = planted_sae(tmp_path / "sae", d, scale)
        return build_index(checkpoint, store, tmp_path / "index", cfg=SMALL.model_copy(update=settings))

    return built


@pytest.fixture
def unembedding() -> Unembedding:
    """The language model of the planted world."""
    return Unembedding()
