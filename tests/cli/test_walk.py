"""The whole way as a newcomer walks it: the demo, then the command that each verb's help shows, as written."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from saelab.cli import VERBS, cli
from saelab.errors import SaelabError
from saelab.features import Index

ROOT = Path(__file__).resolve().parent.parent.parent
NEEDS = {"drift": ["train"], "import": ["export"]}  # verbs whose example takes up what the example of others leaves
ASKS = {"explain": "SAELAB_LLM_URL"}  # verbs that ask somebody who is not there, and say how to name them
KINDS = {"token", "after", "pair", "triple", "place", "syntax"}  # of rules
COMMENT = re.compile(r"(?m)(^|\s)#")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like a checkout in which the demo was run."""
    folder = tmp_path_factory.mktemp("home")
    shutil.copytree(ROOT / "configs", folder / "configs")
    shutil.copy(ROOT / "README.md", folder / "README.md")
    return folder


@pytest.fixture(scope="module")
def demo(home: Path) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        return run("demo --out runs/demo --json demo.json")


def run(command: str) -> Result:
    answer = CliRunner().invoke(cli, shlex.split(command), catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer


def example(verb: str) -> str:
    """The command in the help of a verb."""
    text = CliRunner().invoke(cli, [verb, "--help"]).output
    found = re.search(rf"^ *saelab ({verb}\b.*)$", text, re.MULTILINE)
    assert found, verb
    return found[1]


@pytest.mark.slow
def test_the_demo_leaves_what_it_promises_and_says_how_it_did(home, demo):
    for place in ("store", "sae/topk-2048-k32", "index/topk-2048-k32", "harvest.yaml", "train.yaml"):
        assert (home / "runs/demo" / place).exists(), place
    assert re.search(r"CE recovered\W+0\.\d+", demo.output)
    figures = json.loads((home / "demo.json").read_text())
    assert 0 < figures["fvu"] < 0.25
    assert figures["l0"] == pytest.approx(32, abs=1)
    assert figures["dead_share"] < 0.05
    assert figures["ce_recovered"] >= 0.9
    assert len(figures["features"]) >= 10


@pytest.mark.slow
def test_the_demo_leaves_rules_as_labels_which_the_app_shows(home, demo):
    index = Index.open(home / "runs/demo/index/topk-2048-k32")
    rules = [label for label in index.labels.values() if label.kind in KINDS]
    assert len(rules) >= 1500
    assert sum(label.f1 >= 0.8 for label in rules) >= 250


@pytest.mark.slow
def test_the_demo_finds_features_for_syntax_where_neurons_and_chance_do_not(home, demo):
    syntax = json.loads((home / "demo.json").read_text())["evaluations"]["syntax"]
    assert syntax["good"] >= 15
    assert syntax["beats_neuron"] >= 0.7
    assert syntax["shuffled_excess"] <= 0.2


@pytest.mark.slow
def test_the_feature_for_comments_makes_pico_write_comments(home, demo, monkeypatch):
    """The command that the demo prints, with ten seeds."""
    monkeypatch.chdir(home)
    printed = re.search(r"^Steer it: +saelab (steer .*) --seeds 3$", demo.output, re.MULTILINE)
    assert printed
    run(f"{printed[1]} --seeds 10 --json steered.json")
    texts = [
        {row["name"]: row["text"] for row in one["rows"]}
        for one in json.loads(Path("steered.json").read_text(encoding="utf-8"))
    ]
    assert sum(bool(COMMENT.search(text["default"])) for text in texts) <= 2
    assert sum(bool(COMMENT.search(text["steered"])) for text in texts) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in {"demo", "app", "pretrain", "bench"}])
def test_the_command_in_the_help_runs_as_written(home, demo, monkeypatch, verb):
    monkeypatch.chdir(home)
    for before in NEEDS.get(verb, ()):
        run(example(before))
    if verb in ASKS:
        with pytest.raises(SaelabError, match=ASKS[verb]):
            run(example(verb))
    else:
        assert run(example(verb)).output


@pytest.mark.slow
def test_the_notebook_in_the_readme_runs(home, demo, monkeypatch, capsys):
    monkeypatch.chdir(home)
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert code
    exec(compile(code[1], "README.md", "exec"), {})
    assert capsys.readouterr().out.count("\n") >= 3


@pytest.mark.slow
def test_the_same_demo_again_finds_everything_done(home, demo, monkeypatch):
    monkeypatch.chdir(home)
    before = (home / "runs/demo/sae/topk-2048-k32/sae_weights.safetensors").stat().st_mtime_ns
    assert "holds this harvest already" in run("demo --out runs/demo").output
    assert (home / "runs/demo/sae/topk-2048-k32/sae_weights.safetensors").stat().st_mtime_ns == before
