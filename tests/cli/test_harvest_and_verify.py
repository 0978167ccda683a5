"""What `saelab harvest` says comes next works as printed; `saelab verify` goes on behind the first damage."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from saelab.cli import cli

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_lm_dir):
    """A folder with the presets and a store of two sites."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(CONFIGS, folder / "configs")
    (folder / "texts").mkdir()
    for number in range(60):
        (folder / "texts" / f"{number}.txt").write_text(f"def f{number}(x):\n    return x + {number}\n" * 4)
    harvest = {
        "model": str(tiny_lm_dir),
        "corpus": {"kind": "files", "paths": ["texts"]},
        "sites": ["resid_post.1", "mlp_out.0"],
        "tokens": 2500,
        "heldout_tokens": 100,
        "out": "run/store",
    }
    (folder / "harvest.yaml").write_text(yaml.safe_dump(harvest))
    return folder


def run(command):
    return CliRunner().invoke(cli, shlex.split(command), catch_exceptions=False)


def test_the_next_command_trains_on_this_store_and_verify_lists_every_damage(place, monkeypatch):
    monkeypatch.chdir(place)
    answer = run("harvest harvest.yaml")
    assert answer.exit_code == 0, answer.output
    following = re.search(r"^Next: saelab (.*)$", answer.output, re.MULTILINE)[1]
    assert "--set store=run/store" in following and "--set sae.d_sae=256" in following
    assert "--set site=blocks." in following and "batch" not in following  # 2,500 rows fill one of 2,048
    assert run(f"{following} --set train.rows=2048").exit_code == 0
    assert run("verify run").exit_code == 0

    shard = sorted((place / "run/store").rglob("*.parquet"))[0]
    shard.write_bytes(shard.read_bytes()[:-1])  # which opening the store finds, before anything is verified
    weights = next((place / "run/sae").rglob("sae_weights.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-100])
    found = run("verify run --json found.json")
    assert found.exit_code == 2
    told = yaml.safe_load((place / "found.json").read_text())
    assert set(told) == {"run/store", str(weights.parent.relative_to(place))} and all(told.values())
