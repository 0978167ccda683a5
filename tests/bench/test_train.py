"""`saelab bench train`, at sizes where its figures mean nothing: every figure is there, and what is missing is said."""

import json
import math
import os
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from saelab.bench.peers.libraries import PEERS
from saelab.bench.report import html
from saelab.bench.train import TrainBenchConfig, bench_train
from saelab.cli import main
from saelab.contracts import Silent

TINY = {"rows": "gaussian", "d_in": 16, "d_sae": 64, "k": 4, "batch": 32, "steps": 8}
KEYS = {
    "library", "variant", "setting", "d_in", "d_sae", "k", "batch", "ms_per_step", "tokens_per_s", "peak_bytes", "fvu",
}  # fmt: skip
PYTHON = os.environ.get("SAELAB_PEER_PYTHON")
NEEDS = "needs SAELAB_PEER_PYTHON, the Python of an environment with a library that saelab.bench.peers.libraries names"


def tiny(**changes) -> TrainBenchConfig:
    return TrainBenchConfig.model_validate({**TINY, **changes})


@pytest.fixture(scope="module")
def bench():
    return bench_train(tiny(batches=(64,)))


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    """A folder that temporary folders are made in."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_every_row_has_every_figure(bench):
    content = json.loads(json.dumps(bench.to_json()))
    assert content["format"] == 1 and content["date"].startswith("20") and content["machine"]["torch"]
    assert [(row["library"], row["batch"]) for row in content["rows"]] == [
        ("saelab", 32), ("gemm", 32), ("saelab", 64), ("gemm", 64),
    ]  # fmt: skip
    for row in content["rows"]:
        assert set(row) >= KEYS
        assert 0 < row["ms_p10"] <= row["ms_per_step"] <= row["ms_p90"] < math.inf
        assert row["tokens_per_s"] == pytest.approx(row["batch"] / row["ms_per_step"] * 1e3)
        assert row["peak_bytes"] > 0


def test_the_main_row_also_says_how_well_it_learned_and_what_dead_features_cost(bench):
    own, floor = bench.rows[:2]
    assert 0 < own.fvu < 1 and own.ms_with_dead > 0 and own.times_saelab == 1
    assert floor.fvu is None and floor.ms_with_dead is None and floor.proof is None


def test_saelabs_gradients_are_those_of_the_definition(bench):
    assert max(bench.rows[0].proof.distances.values()) < 1e-5


def test_noise_is_called_noise(bench):
    assert "rows: Gaussian noise of width 16: no real rows" in bench.notes


def test_the_report_needs_nothing_else_and_names_everyone(bench):
    page = html(bench)
    assert "Plotly.newPlot" in page and "https://cdn.plot.ly" not in page.split("<table>")[0]
    assert "<td>saelab</td>" in page and "<td>gemm</td>" in page and "rows per second" in page


@pytest.mark.slow
def test_batchtopk_is_timed_too_and_speed_alone_has_no_fvu():
    own = bench_train(tiny(variant="batchtopk", steps=0)).rows[0]
    assert own.variant == "batchtopk" and own.fvu is None and own.ms_per_step > 0
    assert max(own.proof.distances.values()) < 1e-4


@pytest.mark.slow
@pytest.mark.skipif(
    any(find_spec(peer.needs) for peer in PEERS if peer.needs), reason="needs a Python without the peers"
)
def test_a_peer_that_is_not_there_is_said(temporary):
    bench = bench_train(tiny(peers_python=Path(sys.executable)))
    asking = [peer for peer in PEERS if peer.needs is not None]  # the plain dense step needs nothing but torch
    assert {row.library for row in bench.rows} == {"saelab", "gemm"} | {
        peer.name for peer in PEERS if peer not in asking
    }
    for peer in asking:
        assert f"{peer.name}, best is left out: it is not installed there" in bench.notes
    assert not list(temporary.iterdir())


@pytest.mark.slow
def test_a_peer_that_lacks_the_variant_is_said():
    notes = bench_train(tiny(variant="batchtopk", peers_python=Path(sys.executable))).notes
    assert "eai-sparsify is left out: it has no batchtopk" in notes


def test_one_setting_of_one_peer_can_be_asked_for():
    bench = bench_train(tiny(peers_python=Path(sys.executable), only=("dense/fp32",)))
    assert [(row.library, row.setting) for row in bench.rows[1:]] == [("gemm", "floor"), ("dense", "fp32")]


def test_nothing_stays_behind_when_it_is_stopped(temporary):
    class Impatient(Silent):
        def advance(self, done: int, **figures: float) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench_train(tiny(), Impatient())
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--peers"], "Name it with --peers-python"),
        (["--peers-python", "/nowhere/python"], "there is no such program"),
        (["--peers-python", "/bin/true"], "no Python with torch and safetensors"),
        (["--rows", "/nowhere"], "is not an activation store"),
        (["--rows", "gaussian", "--d-in", "8", "--d-sae", "16"], "k = 32 features per row, but d_sae = 16"),
        (["--batch", "0"], "batch = 0"),
        (["--only", "dense/fp16"], "no peer or setting dense/fp16; there are sae-lens, sae-lens/default"),
        (["--batch", "32", "--batch", "0"], "a batch has at least one row"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(monkeypatch, capsys, options, words):
    monkeypatch.setattr(sys, "argv", ["saelab", "bench", "train", *options])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said


@pytest.mark.slow
@pytest.mark.skipif(PYTHON is None, reason=NEEDS)
def test_every_peer_takes_the_same_gradient():
    """By default; at their best some choose features in bf16, which the notes say."""
    bench = bench_train(tiny(peers_python=Path(str(PYTHON))))
    peers = [row for row in bench.rows if row.library not in ("saelab", "gemm")]
    assert peers
    for row in peers:
        assert 0 < row.fvu < 1 and row.ms_with_dead > 0 and row.version
        if row.setting == "default":
            assert max(row.proof.distances.values()) < 1e-4, row.library


def test_the_worker_measures_fvu_as_saelab_defines_it():
    from saelab.bench.peers.measure import fvu
    from saelab.metrics import fvu as defined

    x = torch.randn(50, 3) + 5
    assert fvu(x, lambda rows: rows * 0.9, 7) == pytest.approx(defined(x, x * 0.9), rel=1e-6)
