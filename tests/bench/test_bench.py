"""The benchmarks run, at sizes where their figures mean nothing, and every figure is there."""

import json
import math

import pytest
from click.testing import CliRunner

from saelab.bench import BENCHES, bench_harvest, bench_sweep
from saelab.cli.bench import command
from saelab.lm import LanguageModel


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return LanguageModel.load("pico")


def test_the_command_offers_every_benchmark():
    assert set(command.commands) == set(BENCHES)


@pytest.mark.parametrize("name", sorted(BENCHES))
def test_every_benchmark_shows_an_example(name):
    assert f"saelab bench {name}" in CliRunner().invoke(command, [name, "--help"]).output


@pytest.mark.slow
def test_harvest_is_timed_beside_the_bare_model(lm):
    result = bench_harvest(tokens=2_048, repeats=1, lm=lm)
    speeds = (result.forward_tokens_per_s, result.harvest_tokens_per_s, result.reader_gb_per_s)
    assert all(0 < speed < math.inf for speed in speeds)
    assert result.ratio == pytest.approx(result.harvest_tokens_per_s / result.forward_tokens_per_s)
    assert len(result.sites) == 2


@pytest.mark.slow
def test_a_sweep_is_timed_beside_each_training(lm):
    result = bench_sweep(tokens=2_048, lm=lm)
    assert len(result.training) == len(result.ks) == 4
    assert result.ratio == pytest.approx(result.sweep / (result.forward + sum(result.training)))
    assert [row[0] for row in result.table()[1]][-1] == "one pass / all of these"


@pytest.mark.slow
def test_the_command_writes_every_figure(tmp_path, monkeypatch, lm):
    monkeypatch.setitem(BENCHES, "harvest", lambda **options: bench_harvest(tokens=2_048, repeats=1, lm=lm))
    answer = CliRunner().invoke(command, ["harvest", "--json", str(tmp_path / "out.json")], catch_exceptions=False)
    assert answer.exit_code == 0
    assert json.loads((tmp_path / "out.json").read_text())["model"] == "pico"
    assert "harvest / forward" in answer.output
