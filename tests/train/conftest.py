import pytest

from saelab.store import Store

from .train_rows import make_store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("planted") / "store")
