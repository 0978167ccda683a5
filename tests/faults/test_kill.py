"""kill -9 at random moments of every verb that writes; the same command again ends with the same bits."""

import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest
from verbs import commands, fingerprint, run_verb

KILLS = int(os.environ.get("SAELAB_KILLS", "3"))  # of each verb
FORKS = multiprocessing.get_context("forkserver")  # imports once; each verb still is a process of its own
FORKS.set_forkserver_preload(["saelab.cli", "saelab.harvest", "saelab.train", "saelab.runs", "transformer_lens"])


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
    print(f"{hits} kills of {KILLS * len(seconds)} came before the end")  # shown by -rP
    assert hits >= 2 * KILLS, "the kills came too late to mean anything"
    assert fingerprint(run) == fingerprint(aside)
