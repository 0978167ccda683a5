"""Two checkpoints side by side, where a hand can work out what turned, was born, died and fires elsewhere."""

import json

import pytest
import torch

from saelab.errors import CheckpointError
from saelab.features import IndexConfig, build_index, drift_between
from saelab.sae import SAE

from .conftest import CONTEXTS, ROWS, planted_sae, planted_store


@pytest.fixture
def pair(tmp_path):
    """Two checkpoints: in the second, feature 1 reads and writes direction 2, and feature 2 reads nothing any more."""
    a, b = planted_sae(tmp_path / "a"), planted_sae(tmp_path / "b")
    changed = SAE.load(b)
    with torch.no_grad():
        changed.W_dec[1] = torch.tensor([0.0, 0.0, 1.0])
        changed.b_enc[2] = -100.0
        changed.b_enc[3] = 0.0  # the copy of direction 0 wakes up
    changed.save(b, {"hook_name": "blocks.0.hook_resid_post", "model_name": "tiny"})
    return a, b


@pytest.fixture
def indexes(pair, tmp_path):
    store = planted_store(tmp_path / "store", ROWS, CONTEXTS)
    cfg = IndexConfig(before=1, after=1, chunk_rows=2, part_rows=4, coactive_tokens=10)
    return [build_index(path, store, tmp_path / "index" / path.name, cfg=cfg) for path in pair]


def test_features_of_one_training_are_set_side_by_side_by_number(pair, indexes):
    found = drift_between(*pair, *indexes, same_numbers=True)
    assert found.cosine.tolist() == pytest.approx([1, 0, 1, 1])
    assert found.partner.tolist() == [0, 1, 2, 3]
    assert found.born.tolist() == [False, False, False, True]
    assert found.died.tolist() == [False, False, True, False]
    assert found.summary()["share with cosine 0.9 or more"] == 0.75
    assert found.rows("cosine", 1)[0].feature == 1
    assert [(row.feature, row.fate) for row in found.rows("born")] == [(3, "born")]


def test_densities_and_examples_come_from_the_indexes(pair, indexes):
    found = drift_between(*pair, *indexes, same_numbers=True)
    assert found.density_a.tolist() == pytest.approx([0.7, 0.4, 0.1, 0])
    assert found.density_b.tolist() == pytest.approx([0.7, 0.4, 0, 0.7])
    assert found.overlap.tolist() == pytest.approx([1, 1, 0, 0])
    assert found.summary()["median change of density, factor"] == pytest.approx(1)


def test_features_of_two_trainings_are_set_beside_the_nearest_and_nothing_is_born(pair, indexes):
    found = drift_between(*pair, *indexes, same_numbers=False)
    assert found.partner.tolist()[2] in (1, 2)  # both write direction 2
    assert found.cosine.tolist() == pytest.approx([1, 0, 1, 1])
    assert found.born is None and found.died is None
    assert found.rows("born") == []
    assert found.summary()["born"] is None


def test_without_indexes_what_lives_is_what_fired_lately_in_training(pair):
    for path, fired in zip(pair, ([0, 0, 0, 50], [0, 50, 0, 0]), strict=True):
        sae = SAE.load(path)
        sae.tokens_since_fired.copy_(torch.tensor(fired))
        sae.save(path, dict(sae.metadata))
        (path / "training.json").write_text(json.dumps({"settings": {"train": {"dead_after": 40}}}))
    found = drift_between(*pair, None, None, same_numbers=True)
    assert found.lives == "fired on the last 40 rows of training"
    assert found.born.tolist() == [False, False, False, True]
    assert found.died.tolist() == [False, True, False, False]
    assert found.density_a is None and found.overlap is None


def test_decoders_of_different_widths_are_refused(pair, tmp_path):
    with pytest.raises(CheckpointError, match="width 3.*width 5"):
        drift_between(pair[0], planted_sae(tmp_path / "c", d=5), None, None, same_numbers=False)
