"""Which artefacts belong together."""

import pytest

from saelab.errors import CheckpointError
from saelab.runs import store_folder, store_of


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "swept" / "sae" / "topk"
    folder.mkdir(parents=True)
    return folder


def harvested(folder):
    """A folder that begins to be a store."""
    folder.mkdir(parents=True)
    (folder / "store.json").write_text("{}")
    return folder


def test_the_store_is_beside_the_checkpoint_or_where_its_training_read(checkpoint, tmp_path):
    elsewhere = harvested(tmp_path / "harvested" / "store")
    assert store_folder(checkpoint) is None
    (checkpoint / "train.yaml").write_text(f"store: {elsewhere}")
    assert store_folder(checkpoint) == elsewhere
    beside = harvested(tmp_path / "swept" / "store")
    assert store_folder(checkpoint) == beside


@pytest.mark.parametrize("settings", ["store: 3", "- a", "store: [", "store: !!python/object:x {}"])
def test_settings_that_name_no_store_are_passed_over(checkpoint, settings):
    (checkpoint / "train.yaml").write_text(settings)
    with pytest.raises(CheckpointError, match="no store at .*swept/store"):
        store_of(checkpoint)


def test_every_place_that_was_looked_at_is_named(checkpoint, tmp_path):
    (checkpoint / "train.yaml").write_text(f"store: {tmp_path}/gone")
    with pytest.raises(CheckpointError, match=r"swept/store nor at .*gone\.\n  fix:   name it with --store"):
        store_of(checkpoint)
