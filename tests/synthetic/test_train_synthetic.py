"""`saelab train` with `source: synthetic`: a bed's rows, without a store and without a language model."""

import json
import re
import sys

import pytest

from saelab.cli import main
from saelab.errors import ConfigError
from saelab.sae import SAE
from saelab.synthetic import SyntheticRows, bed, score
from saelab.train import TrainConfig, train
from saelab.train.metrics_log import read_metrics

EASY = {
    "source": "synthetic",
    "synthetic": {"bed": "easy", "n": 32, "d": 16, "p": 0.06, "seed": 3},
    "sae": {"variant": "topk", "d_sae": 40, "k": 3},
    "train": {"rows": 20_000, "batch": 100, "lr": 0.02},
    "heldout_rows": 500,
}


def config(out, **changes):
    return TrainConfig.model_validate({**EASY, "out": out, **changes})


def rows():
    return SyntheticRows(bed(EASY["synthetic"]))


def answer(monkeypatch, capsys, *arguments) -> tuple[int, str]:
    """Exit code and output of the command."""
    monkeypatch.setattr(sys, "argv", ["saelab", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    printed = capsys.readouterr()
    return stop.value.code or 0, printed.out + printed.err


def yaml(folder, text):
    path = folder / "train.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_training_finds_the_bed_s_features_and_says_what_they_were(tmp_path):
    (result,) = train(config(tmp_path), source=rows())
    sae, one = SAE.load(result.path), bed(EASY["synthetic"])
    scores = score(sae, one, rows=500)  # of draw 1, the held-out rows
    assert scores.mcc > scores.mcc_floor + 0.2
    assert result.fvu == pytest.approx(scores.fvu, rel=1e-4) and result.l0 == pytest.approx(scores.l0)
    assert sae.metadata["model_name"] == "synthetic-easy"
    assert {**EASY["synthetic"], "noise": 0.01}.items() <= sae.metadata["harvest"].items()


def test_two_runs_end_with_the_same_bits_and_another_order_of_rows_with_others(tmp_path):
    short = {"rows": 1000, "batch": 100}
    first, second, other = (
        train(config(tmp_path / name, train={**short, "order_seed": order}), source=rows())[0]
        for name, order in (("a", 0), ("b", 0), ("c", 1))
    )
    weights = [SAE.load(result.path).W_dec for result in (first, second, other)]
    assert weights[0].equal(weights[1]) and not weights[0].equal(weights[2])


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path, monkeypatch):
    """Batches are numbered: the second call draws those that the first did not get to."""
    short = {"rows": 2000, "batch": 100}
    (whole,) = train(config(tmp_path / "whole", train=short), source=rows())
    stopped = config(tmp_path / "stopped", train=short, save_minutes=0)

    class Stopping(SyntheticRows):
        def batches(self, *args, **more):
            for number, batch in enumerate(super().batches(*args, **more)):
                if number == 7:
                    raise KeyboardInterrupt
                yield batch

    with pytest.raises(KeyboardInterrupt):
        train(stopped, source=Stopping(bed(EASY["synthetic"])))
    (resumed,) = train(stopped, source=rows())
    for name, tensor in SAE.load(whole.path).state_dict().items():
        assert tensor.equal(SAE.load(resumed.path).state_dict()[name]), name
    assert read_metrics(resumed.path / "metrics.jsonl") == read_metrics(whole.path / "metrics.jsonl")


def test_the_command_makes_the_rows_itself(tmp_path, monkeypatch, capsys):
    path = yaml(tmp_path, "source: synthetic\nsynthetic: {bed: tree}\nsae: {variant: topk, d_sae: 40, k: 2}\n")
    settings = ("--set", "train.rows=2000", "--set", "train.batch=100", "--set", f"out={tmp_path}/sae")
    code, said = answer(monkeypatch, capsys, "train", path, *settings, "--json", tmp_path / "out.json")
    assert code == 0, said
    (result,) = json.loads((tmp_path / "out.json").read_text())
    assert result["rows"] == 2000 and 0 < result["fvu"] < 1
    assert re.search(r"Next: saelab index .*topk-40-k2", said.replace("\n", ""))


def test_a_bed_that_is_not_there_is_one_message(tmp_path, monkeypatch, capsys):
    path = yaml(tmp_path, "source: synthetic\nsynthetic: {bed: tre}\nsae: {variant: topk, d_sae: 40, k: 2}\n")
    code, said = answer(monkeypatch, capsys, "train", path)
    assert code == 2 and "Did you mean 'tree'" in said and "Traceback" not in said
    code, said = answer(monkeypatch, capsys, "train", path, "--set", "synthetic.bed=tree", "--set", "synthetic.depth=3")
    assert code == 2 and "'depth' is not a setting" in said


def test_in_python_the_rows_must_be_passed(tmp_path):
    with pytest.raises(ConfigError, match="pass saelab.synthetic's SyntheticRows"):
        train(config(tmp_path))


def test_a_variant_without_rows_shows_figures_of_its_own_and_nothing_to_index(tmp_path, monkeypatch, capsys):
    text = "source: synthetic\nsynthetic: {bed: circle}\nsae: {variant: bilinear, kind: ordered, d_sae: 32}\n"
    settings = ("--set", "train.rows=5000", "--set", "train.batch=100", "--set", f"out={tmp_path}/sae")
    code, said = answer(monkeypatch, capsys, "train", yaml(tmp_path, text), *settings, "--json", tmp_path / "out.json")
    assert code == 0, said
    (result,) = json.loads((tmp_path / "out.json").read_text())
    assert result["fvu"] is None and set(result["own"]) == {"unexplained", "density"}
    assert 0 < result["own"]["unexplained"] < 0.9
    assert "unexplained" in said and "Next: saelab index" not in said
    look = [
        line["heldout"]
        for line in read_metrics(tmp_path / "sae" / "bilinear-ordered-32" / "metrics.jsonl")
        if "heldout" in line
    ]
    assert look[-1]["own"] == result["own"]
    x = bed({"bed": "circle"}).draw(8192, 1).x
    again = SAE.load(tmp_path / "sae" / "bilinear-ordered-32").own_figures(x, 100)
    assert again == pytest.approx(result["own"], rel=1e-5)
