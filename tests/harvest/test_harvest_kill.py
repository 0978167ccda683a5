"""kill -9 at random moments of a harvest; the same command again ends with the same bits."""

import hashlib
import multiprocessing
import random
import time
from pathlib import Path

import pytest

from saelab.harvest import harvest

from .counting_lm import CountingLM, config, write_corpus

KILLS = 5
FORKS = multiprocessing.get_context("forkserver")  # imports once; each harvest still is a process of its own
FORKS.set_forkserver_preload(["saelab.harvest", "saelab.lm"])


class SlowLM(CountingLM):
    """So slow that a kill hits between passes, inside writes and everywhere else."""

    def activations(self, ids, at):
        time.sleep(0.002)
        return super().activations(ids, at)


def run(corpus: Path, out: Path, begun) -> None:
    begun.set()
    harvest(config(corpus, out, tokens=1500), lm=SlowLM())


def start(corpus: Path, out: Path):
    """Begin a harvest in a process of its own; it has imported everything when this returns."""
    begun = FORKS.Event()
    process = FORKS.Process(target=run, args=(corpus, out, begun))
    process.start()
    assert begun.wait(120)
    return process


def finish(corpus: Path, out: Path) -> float:
    process = start(corpus, out)
    since = time.monotonic()
    process.join(120)
    assert process.exitcode == 0
    return time.monotonic() - since


def digests(path: Path) -> dict[str, str]:
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.slow
def test_a_harvest_that_was_killed_again_and_again_ends_with_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2])  # where the other process finds this module
    corpus = write_corpus(tmp_path / "texts")
    seconds = finish(corpus, tmp_path / "undisturbed")
    draw, hits = random.Random(0), 0
    for _ in range(KILLS):
        process = start(corpus, tmp_path / "killed")
        process.join(draw.uniform(0.05, 0.4) * seconds)
        hits += process.exitcode is None
        process.kill()
        process.join()
    finish(corpus, tmp_path / "killed")
    assert hits >= 3, "the kills came too late to mean anything"
    assert digests(tmp_path / "killed") == digests(tmp_path / "undisturbed")
