"""`saelab eval`: the list, the rows it leaves, what it skips and why."""

import json

import pytest
from click.testing import CliRunner

from saelab.cli import cli
from saelab.errors import ConfigError, EvalSkipped
from saelab.evals import EVALS


@pytest.fixture
def checkpoint(identity, tiny_lm_dir, tmp_path):
    identity.metadata |= {"model_name": str(tiny_lm_dir)}
    identity.save(tmp_path / "run" / "sae" / "one")
    return tmp_path / "run" / "sae" / "one"


def run(*words) -> object:
    return CliRunner().invoke(cli, ["eval", *map(str, words)], env={"COLUMNS": "200"})


def test_the_list_holds_every_evaluation_and_needs_no_checkpoint():
    answer = run("--list")
    assert answer.exit_code == 0
    assert all(name in answer.output and each.SOURCE[:20] in answer.output for name, each in EVALS.items())
    defined = run("--list", "--define", "--only", "scr").output
    assert "scr_n20_random" in defined and "tpp_n20" not in defined


def test_rows_are_left_beside_the_checkpoint_and_answer_sql(checkpoint, store, tmp_path):
    out = tmp_path / "found.json"
    answer = run(checkpoint, "--only", "eps_lbo", "--define", "--store", store.path, "--json", out)
    assert answer.exit_code == 0, answer.output
    assert "eps_lbo" in answer.output and EVALS["eps_lbo"].METRICS["length_ratio"][:30] in answer.output
    rows = json.loads(out.read_text())["rows"]
    assert [row["metric"] for row in rows] == list(EVALS["eps_lbo"].METRICS)
    asked = [
        "sql",
        str(checkpoint),
        "select metric, value from results where eval = 'eps_lbo' and metric = 'length_ratio'",
    ]
    answer = CliRunner().invoke(cli, asked)
    assert answer.exit_code == 0 and "1.0000" in answer.output


def test_what_cannot_be_asked_is_refused_alone_and_left_out_of_all(checkpoint, store, monkeypatch):
    answer = run(checkpoint, "--only", "synth", "--store", store.path)
    assert isinstance(answer.exception, EvalSkipped)
    some = {name: EVALS[name] for name in ("eps_lbo", "synth", "stability")}
    monkeypatch.setattr("saelab.cli.evaluate.EVALS", some)
    answer = run(checkpoint, "--all", "--store", store.path)
    assert answer.exit_code == 0, answer.output
    assert "synth left out: needs an SAE of synthetic rows" in answer.output
    assert "stability left out: needs another checkpoint" in answer.output
    assert "length_gap" in answer.output


def test_several_checkpoints_stand_side_by_side_and_beside_each_other(checkpoint, identity, store):
    identity.save(checkpoint.parent / "two")
    answer = run(checkpoint, checkpoint.parent / "two", "--only", "stability", "--define", "--store", store.path)
    assert answer.exit_code == 0, answer.output
    head = next(line for line in answer.output.splitlines() if "metric" in line and "one" in line)
    assert "two" in head


def test_a_misspelt_name_and_no_checkpoint_are_refused(checkpoint):
    assert isinstance(run(checkpoint, "--only", "cor").exception, ConfigError)
    assert "name a checkpoint" in run().output
