import json

import pytest
import torch

from saelab import sealed
from saelab.contracts import Silent
from saelab.errors import TrainError
from saelab.metrics import fvu
from saelab.sae import SAE, VARIANTS
from saelab.train import StoreRows, TrainConfig, plan, train
from saelab.train.metrics_log import read_metrics
from saelab.train.trainee import Trainee

from .train_rows import OTHER, SITE, TOPK, artefacts, config, make_store


def test_training_leaves_a_checkpoint_that_explains_the_rows(store, tmp_path):
    (result,) = train(config(store, tmp_path, rows=20_000, train={"lr": 0.03}))
    sae = SAE.load(result.path)
    x = store.read(SITE, "heldout").float()
    codes = sae.encode_sparse(x)
    assert result.path == tmp_path / "topk-32-k4"
    assert result.fvu is not None
    assert result.fvu < 0.15  # 24 planted directions, 2.4 of them on a row
    assert result.fvu == pytest.approx(fvu(x, sae.decode_sparse(codes, x)), rel=1e-4)
    assert result.l0 == pytest.approx(codes.l0.float().mean().item())
    assert result.rows == 20_000


def test_the_checkpoint_says_what_it_was_made_of(store, tmp_path):
    (result,) = train(config(store, tmp_path, rows=400))
    metadata = SAE.load(result.path).metadata
    record = json.loads((result.path / "training.json").read_text())
    assert metadata["hook_name"] == SITE
    assert metadata["model_name"] == "planted"
    assert store.hash in json.dumps(metadata)
    assert record["finished"]
    assert record["heldout"]["fvu"] == result.fvu


def test_metrics_hold_the_terms_the_rate_and_the_looks(store, tmp_path):
    (result,) = train(config(store, tmp_path, eval_every=1000, log_every=5))
    lines = read_metrics(result.path / "metrics.jsonl")
    steps = [line for line in lines if "loss" in line]
    looks = [line for line in lines if "heldout" in line]
    assert lines[0] == {"step": 0, "rows": 0, "kernels": "cpu", "update": "fused"}
    assert [line["step"] for line in steps] == [5, 10, 15, 20]
    assert [line["rows"] for line in looks] == [1000, 2000, 3000, 4000]
    assert looks[-1]["heldout"]["fvu"] == result.fvu
    assert {"step", "rows", "loss", "lr"} < set(steps[0])


def test_the_same_call_again_returns_what_is_there(store, tmp_path):
    (first,) = train(config(store, tmp_path))
    before = artefacts(tmp_path)
    (second,) = train(config(store, tmp_path))
    assert second.seconds == 0
    assert (second.fvu, second.l0, second.dead_share) == (first.fvu, first.l0, first.dead_share)
    assert artefacts(tmp_path) == before


def test_many_saes_in_one_pass_equal_each_alone(store, tmp_path):
    entries = {
        "topk-32-k4": TOPK,
        "small": {**TOPK, "k": 2, "name": "small"},
        "dense": {"variant": "relu", "d_sae": 24, "name": "dense"},
        "slow": {**TOPK, "train": {"lr": 1e-3}, "name": "slow"},
    }
    for result in train(config(store, tmp_path / "together", list(entries.values()))):
        (alone,) = train(config(store, tmp_path / "alone", entries[result.name]))
        together = artefacts(result.path)
        differing = {name for name, data in artefacts(alone.path).items() if data != together[name]}
        assert differing == {"train.yaml", "training.json"}  # `out`, and the digest of the file that says it
        said = [{**sealed.read(path / "training.json"), "files": None} for path in (alone.path, result.path)]
        assert said[0] == said[1]


def test_what_is_in_train_yaml_trains_the_same_again(store, tmp_path):
    from saelab.config import load_settings

    (result,) = train(config(store, tmp_path / "a", [{**TOPK, "train": {"seed": 3}}], train={"lr": None}))
    again = load_settings(TrainConfig, result.path / "train.yaml", [f"out={tmp_path / 'b'}"])
    (second,) = train(again)
    weights = "sae_weights.safetensors"
    assert (second.path / weights).read_bytes() == (result.path / weights).read_bytes()


@pytest.mark.parametrize("variant", [name for name, kind in VARIANTS.items() if kind.reproduces_rows])
def test_a_transcoder_of_every_variant_predicts_the_other_site(store, tmp_path, variant):
    (result,) = train(config(store, tmp_path, {"variant": variant, "d_sae": 64}, target=OTHER, rows=400))
    sae = SAE.load(result.path)
    assert sae.W_dec.shape == (64, 12)
    assert sae.metadata["hook_name_out"] == OTHER


def test_without_held_out_rows_there_are_no_held_out_figures_and_a_note_says_so(tmp_path):
    class Notes(Silent):
        def __init__(self):
            self.notes = []

        def note(self, text):
            self.notes.append(text)

    notes = Notes()
    (result,) = train(config(make_store(tmp_path / "store", heldout=0), tmp_path / "sae", rows=400), notes)
    assert result.fvu is None
    assert "no held-out part" in notes.notes[0]


def test_rows_that_are_no_numbers_stop_the_run_and_leave_the_save_alone(store, tmp_path):
    class Broken(StoreRows):
        def batches(self, sites, batch, seed, start=0):
            for number, rows in enumerate(super().batches(sites, batch, seed, start)):
                yield {site: x * (float("nan") if number == 7 else 1) for site, x in rows.items()}

    cfg = config(store, tmp_path, save_minutes=0, log_every=1)
    with pytest.raises(TrainError, match=f"rows of {SITE} are no numbers: a value up to row 1,600"):
        train(cfg, source=Broken(store))
    assert json.loads((tmp_path / "topk-32-k4" / "state" / "state.json").read_text())["step"] == 7
    (result,) = train(cfg)
    assert result.rows == 4000


def explode(monkeypatch, step, of="too-fast"):
    """The gradient of one SAE overflows at `step`, where its loss still is a number."""
    whole = Trainee.descend

    def descend(self, batch, contexts=None):
        found = whole(self, batch, contexts)
        if self.plan.name == of and self.step == step:
            self.sae.W_dec.detach()[0, 0] = torch.inf
        return found

    monkeypatch.setattr(Trainee, "descend", descend)


def test_an_sae_that_diverges_is_left_at_its_last_save_and_the_others_end(store, tmp_path, monkeypatch):
    explode(monkeypatch, 8)
    entries = [TOPK, {**TOPK, "name": "too-fast"}]
    with pytest.raises(TrainError, match="too-fast: the loss is no longer a number, at step 8 of 20"):
        train(config(store, tmp_path / "both", entries, save_minutes=0))
    assert json.loads((tmp_path / "both" / "too-fast" / "state" / "state.json").read_text())["step"] == 7
    assert not sealed.read(tmp_path / "both" / "too-fast" / "training.json")["finished"]
    (alone,) = train(config(store, tmp_path / "alone"))
    name = "sae_weights.safetensors"
    assert artefacts(tmp_path / "both" / "topk-32-k4")[name] == artefacts(alone.path)[name]


def test_no_checkpoint_is_kept_of_weights_that_are_no_numbers(store, tmp_path, monkeypatch):
    explode(monkeypatch, 10)
    cfg = config(store, tmp_path, {**TOPK, "name": "too-fast"}, eval_every=2000, keep=1, log_every=100)
    with pytest.raises(TrainError, match="no longer a number, at step 10"):
        train(cfg)
    assert [path.name for path in tmp_path.iterdir()] == ["too-fast"]


def test_training_leaves_the_callers_random_numbers_alone(store, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train(config(store, tmp_path, rows=400))
    assert torch.rand(1) == expected


def test_a_dry_run_counts_and_writes_nothing(store, tmp_path):
    cost = plan(config(store, tmp_path / "out", [TOPK, {**TOPK, "k": 8}]))
    weights = 2 * (16 * 32 + 32 * 16 + 32 + 16)  # of both SAEs
    assert cost["steps"] == 20
    assert cost["memory in MB"] == pytest.approx(4 * 4 * weights / 1e6)
    assert cost["seconds"] > 0
    assert not (tmp_path / "out").exists()
