"""Claims are measured as they stand, and a claim that fails says so."""

import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from saelab.cli import main
from saelab.errors import ConfigError
from saelab.prove import CLAIMS, AtLeast, AtMost, Claim, prove, read_proofs
from saelab.prove.fit import fit
from saelab.prove.induction import TOKENS, VOCAB, patterns, prefix_matching, text
from saelab.prove.run import chosen, tasks
from saelab.sae import VARIANTS
from saelab.synthetic import BEDS

HALF = AtLeast(0.5)
MAIN = "from saelab.cli import main; main()"


def claim(name="x-one", target=HALF, measure=lambda seed: seed / 2, **changes):
    return Claim(name, "x", "easy", "a number", target, measure, "nobody", **changes)


@pytest.fixture
def three(monkeypatch):
    made = [claim(), claim("x-two", AtMost(0.5), note="why"), claim("y-slow", slow=True)]
    monkeypatch.setattr("saelab.prove.run.CLAIMS", {one.name: one for one in made})


def test_every_variant_has_a_claim_and_every_claim_a_bed():
    assert {one.variant for one in CLAIMS.values()} >= set(VARIANTS)
    for name, one in CLAIMS.items():
        assert one.name == name and name.startswith(f"{one.variant}-")
        assert set(one.bed.split(", ")) <= {*BEDS, "pico", "induction"}  # the last two are language models
        assert one.seeds >= 3 and one.source and one.says


def test_means_and_spreads_are_over_seeds(three):
    first, second = prove(["x"]).rows
    assert (first.measured, first.spread, first.values) == (0.5, 0.5, [0.0, 0.5, 1.0])
    assert first.passed and second.passed  # a bound that is met exactly is kept
    assert prove(["x-one"], seeds=1).rows[0].spread is None


def test_claims_of_one_variant_share_a_worker_seed_by_seed(three):
    wanted = chosen([], fast=False)
    assert tasks(wanted, {"x-one": 2, "x-two": 1, "y-slow": 1}) == [(0, ["x-one", "x-two", "y-slow"]), (1, ["x-one"])]
    other = [*wanted, claim("z", measure=float)]
    assert len(tasks(other, {one.name: 3 for one in other})) == 3  # one variant: one task a seed


def test_two_workers_measure_what_one_does():
    alone, shared = (prove(["topk-floor"], workers=workers).rows[0] for workers in (1, 2))
    assert shared.values == pytest.approx(alone.values, abs=1e-6) and shared.seeds == 3


def running(pid):
    """The parent of a process that runs, 0 of one that does not."""
    with suppress(OSError):
        state, parent = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[:2]
        return 0 if state == "Z" else int(parent)
    return 0


def children(pid):
    return {int(path.name) for path in Path("/proc").glob("[0-9]*") if running(path.name) == pid}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_a_terminated_run_leaves_no_worker_behind():
    command = [sys.executable, "-c", MAIN, "prove", "mp", "--workers", "2"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        workers = set()
        while len(workers) < 3:  # two, and what keeps count of semaphores
            assert process.poll() is None
            workers = children(process.pid)
        process.terminate()
        assert process.wait() == 128 + signal.SIGTERM
    until = time.monotonic() + 30  # far less than the claims take
    while left := {worker for worker in workers if running(worker)}:
        assert time.monotonic() < until, left


def test_a_claim_that_fails_says_so(three):
    proved = prove(["x-one"], seeds=1)
    assert not proved.rows[0].passed and proved.table()[1][0][-1] == "FAILS"
    assert json.loads(json.dumps(proved.to_json()))["rows"][0]["pass"] is False


def test_slow_claims_are_left_out_of_fast_runs_unless_named(three):
    assert [one.name for one in chosen([], fast=True)] == ["x-one", "x-two"]
    assert [one.name for one in chosen([], fast=False)] == ["x-one", "x-two", "y-slow"]
    assert [one.name for one in chosen(["y-slow"], fast=True)] == ["y-slow"]
    with pytest.raises(ConfigError, match="neither a claim nor a variant"):
        chosen(["z"], fast=True)


def test_a_run_is_a_pure_function_of_its_seed_and_trained_once():
    made = fit("easy", 0, steps=3, batch=64, variant="topk", d_sae=32, k=4)
    assert fit("easy", 0, steps=3, batch=64, variant="topk", d_sae=32, k=4) is made
    fit.cache_clear()
    again = fit("easy", 0, steps=3, batch=64, variant="topk", d_sae=32, k=4)
    assert again.sae.W_dec.equal(made.sae.W_dec) and again.scores == made.scores
    assert not fit("easy", 1, steps=3, batch=64, variant="topk", d_sae=32, k=4).sae.W_dec.equal(made.sae.W_dec)


def test_the_command_prints_writes_and_tells_by_its_exit_code(monkeypatch, capsys, tmp_path, three):
    out = tmp_path / "new" / "proofs.json"
    monkeypatch.setattr(sys, "argv", ["saelab", "prove", "x-one", "--seeds", "1", "--workers", "1", "--json", str(out)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    assert "FAILS" in capsys.readouterr().out
    assert [row["name"] for row in json.loads(out.read_text())["rows"]] == ["x-one"]


def test_rows_of_an_earlier_file_stay_where_they_are_not_measured_again(tmp_path, three):
    path = tmp_path / "proofs.json"
    path.write_text(json.dumps(prove(["x-two"], seeds=1).to_json()))
    both = prove(["x-one"], seeds=2).to_json(read_proofs(path))
    assert [(row["name"], row["seeds"]) for row in both["rows"]] == [("x-one", 2), ("x-two", 1)]
    assert read_proofs(tmp_path / "none.json") is None
    path.write_text("{}")
    with pytest.raises(ConfigError, match="was not written by saelab prove"):
        read_proofs(path)


def test_an_induction_head_looks_behind_the_last_occurrence():
    drawn = text(64, 3)
    assert (drawn.ids[:, 0] == VOCAB).all()
    for ids, followed in zip(drawn.ids[:4].tolist(), drawn.followed[:4], strict=True):
        for t, token in enumerate(ids):
            behind = [s for s in range(1, t + 1) if ids[s - 1] == token]
            assert followed[t].nonzero().flatten().tolist() == behind
    perfect = drawn.followed / drawn.followed.sum(dim=-1, keepdim=True).clamp_min(1)
    spread = torch.ones(64, TOKENS, TOKENS).tril() / torch.arange(1, TOKENS + 1).unsqueeze(1)
    scores = prefix_matching(torch.stack([perfect, spread], dim=1), drawn.followed)
    assert scores[0] == pytest.approx(1)
    assert scores[1] < 0.1
    x, shape = torch.randn(2, TOKENS, 4), (3, 4, 2)
    made = patterns(x, torch.randn(shape), torch.randn(3, 2), torch.randn(shape), torch.randn(3, 2))
    torch.testing.assert_close(made.sum(dim=-1), torch.ones(2, 3, TOKENS))
    assert (made.triu(1) == 0).all()
