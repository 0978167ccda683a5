"""Checkpoints kept on the way, and what a folder's trainings have come to."""

import json

import pytest

from saelab import sealed
from saelab.config import settings
from saelab.errors import ConfigError, TrainError
from saelab.sae import SAE
from saelab.train import TrainConfig, train
from saelab.train.history import Curve, curves, training_of, trainings

FOLDER = "sae"


def configured(out, **values):
    """Ten steps of 16 synthetic rows with a look after every second."""
    base = {
        "source": "synthetic", "synthetic": {"bed": "easy"}, "sae": {"variant": "topk", "d_sae": 32, "k": 2},
        "train": {"rows": 160, "batch": 16, "device": "cpu"}, "eval_every": 32, "heldout_rows": 64, "log_every": 1,
        "out": str(out / FOLDER), "name": "a",
    }  # fmt: skip
    return settings(TrainConfig, {**base, **values}, where="test")


@pytest.fixture
def rows():
    from saelab.cli.sources import row_source

    return row_source


def test_checkpoints_are_kept_at_every_second_look_and_are_checkpoints_as_any_other(tmp_path, rows):
    cfg = configured(tmp_path, keep=2)
    train(cfg, source=rows(cfg))
    assert sorted(path.name for path in (tmp_path / FOLDER).iterdir()) == ["a", "a.step-4", "a.step-8"]
    kept = SAE.load(tmp_path / FOLDER / "a.step-4")
    assert kept.metadata["training"]["step"] == 4
    assert not kept.W_dec.equal(SAE.load(tmp_path / FOLDER / "a").W_dec)


def test_keeping_changes_nothing_of_what_comes_out(tmp_path, rows):
    for name, keep in (("with", 1), ("without", 0)):
        cfg = configured(tmp_path / name, keep=keep)
        train(cfg, source=rows(cfg))
    with_, without = (tmp_path / name / FOLDER / "a" for name in ("with", "without"))
    for file in ("sae_weights.safetensors", "metrics.jsonl"):
        assert (with_ / file).read_bytes() == (without / file).read_bytes()
    said = [{**sealed.read(path / "training.json"), "files": None} for path in (with_, without)]
    assert said[0] == said[1]


def test_keeping_without_looks_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="keep = 1 counts looks"):
        configured(tmp_path, keep=1, eval_every=0)


def test_a_training_names_its_checkpoints_in_order_with_their_figures(tmp_path, rows):
    cfg = configured(tmp_path, keep=1)
    train(cfg, source=rows(cfg))
    (found,) = trainings(tmp_path)
    assert (found.name, found.variant, found.state) == ("a", "topk", "finished")
    assert (found.rows, found.rows_wanted) == (160, 160)
    assert [kept.step for kept in found.checkpoints] == [2, 4, 6, 8, 10]
    assert [kept.rows for kept in found.checkpoints] == [32, 64, 96, 128, 160]
    looks = curves(found.folder)["heldout fvu"]
    assert looks.rows == (32, 64, 96, 128, 160)
    assert [kept.fvu for kept in found.checkpoints] == list(looks.values)
    assert training_of(tmp_path / FOLDER / "a.step-4") == tmp_path / FOLDER / "a"


def test_curves_leave_out_the_line_that_is_being_written(tmp_path):
    lines = [{"step": s, "rows": 10 * s, "loss": float(s), "heldout": {"own": {"x": s}}} for s in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 3, "l')
    assert curves(tmp_path) == {"loss": Curve((10, 20), (1.0, 2.0)), "heldout own x": Curve((10, 20), (1.0, 2.0))}


def test_curves_of_a_damaged_file_say_which(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("nonsense\n")
    with pytest.raises(TrainError, match=r"metrics\.jsonl holds a line that is no JSON"):
        curves(tmp_path)


def test_a_training_that_has_not_written_anything_has_no_curves(tmp_path):
    assert curves(tmp_path) == {}
    assert trainings(tmp_path) == []
