"""kill -9 at random moments of every verb that writes; the same command again ends with the same bits."""

import hashlib
import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest
import yaml
from verbs import run_verb

KILLS = int(os.environ.get("SAELAB_KILLS", "5"))  # of each verb
FORKS = multiprocessing.get_context("forkserver")  # imports once; each verb still is a process of its own
FORKS.set_forkserver_preload(["saelab.cli", "saelab.harvest", "saelab.train", "saelab.runs", "transformer_lens"])


def fingerprint(folder: Path) -> dict[str, str]:
    """Every file's digest but the .duckdb's, which is generated from the parquet beside it and whose bytes DuckDB does
    not reproduce, and its marker's, which holds the checksum of those bytes."""
    files = [f for f in sorted(folder.rglob("*")) if f.is_file() and f.name != "CURRENT"]
    truth = [f for f in files if not f.with_suffix(".duckdb").is_file()]
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in truth}


def undisturbed(arguments: list[str]) -> float:
    """Run to the end; how long it took, in seconds."""
    process = FORKS.Process(target=run_verb, args=(arguments,))
    start = time.monotonic()
    process.start()
    process.join()
    assert process.exitcode == 0, arguments
    return time.monotonic() - start


def killed(arguments: list[str], after: float) -> bool:
    """Start, kill -9 after so many seconds; whether it was still running."""
    process = FORKS.Process(target=run_verb, args=(arguments,))
    process.start()
    process.join(after)
    alive = process.exitcode is None
    process.kill()
    process.join()
    return alive


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    rng = random.Random(0)
    for i in range(60):
        (folder / f"{i}.txt").write_text(" ".join(rng.choice(["if", "x", "=", "1", "def", "f()"]) for _ in range(400)))
    return folder


def commands(run: Path, texts: Path, model: Path) -> dict[str, list[str]]:
    """The verbs that write, over one run folder, small enough to be killed often."""
    run.mkdir(parents=True)
    harvest = {
        "model": str(model),
        "corpus": {"kind": "files", "paths": [str(texts)]},
        "sites": ["resid_post.1", "mlp_out.0"],
        "tokens": 40000,
        "heldout_tokens": 2000,
        "shard_rows": 4096,
        "out": str(run / "store"),
    }
    train = {
        "store": str(run / "store"),
        "site": "resid_post.1",
        "sae": [{"variant": "topk", "d_sae": 96, "k": 4}, {"variant": "jumprelu", "d_sae": 64}],
        "train": {"rows": 60000, "batch": 256},
        "eval_every": 20000,
        "save_minutes": 0.002,
        "out": str(run / "sae"),
    }
    (run / "harvest.yaml").write_text(yaml.safe_dump(harvest))
    (run / "train.yaml").write_text(yaml.safe_dump(train))
    return {
        "harvest": ["harvest", str(run / "harvest.yaml")],
        "train": ["train", str(run / "train.yaml")],
        "index": ["index", str(run / "sae" / "topk-96-k4")],
        "label": ["label", str(run / "sae" / "topk-96-k4")],
        "eval": ["eval", str(run / "sae" / "topk-96-k4"), "--only", "fidelity"],
        "export": [
            "export",
            str(run / "sae" / "jumprelu-64-l00.001"),
            "--format",
            "saelens",
            "--out",
            str(run / "exported"),
        ],
    }


@pytest.mark.slow
def test_nothing_is_lost_or_changed_by_kills(tmp_path, texts, tiny_lm_dir):
    # both runs lie at the same path, one after the other, for paths are part of what is recorded
    run, aside = tmp_path / "run", tmp_path / "undisturbed"
    seconds = {verb: undisturbed(arguments) for verb, arguments in commands(run, texts, tiny_lm_dir).items()}
    run.rename(aside)
    rng, hits = random.Random(1), 0
    for verb, arguments in commands(run, texts, tiny_lm_dir).items():
        hits += sum(killed(arguments, rng.uniform(0.02, 0.35) * seconds[verb]) for _ in range(KILLS))
        undisturbed(arguments)
    assert hits >= 2 * KILLS, "the kills came too late to mean anything"
    assert fingerprint(run) == fingerprint(aside)
