"""Libraries take turns; one that fails is left out, and the others go on."""

from random import Random

import pytest

from saelab.bench.peers.libraries import OWN, PEERS, Library
from saelab.bench.rounds import interleaved
from saelab.bench.workers import BenchError, Worker, WorkerError, Workers
from saelab.contracts import Silent


class Fake(Worker):
    """Answers as a worker does; `fails` at its so-many-th request, is disturbed at those in `busy`."""

    def __init__(self, library: Library, log: list[str], fails: int = -1, busy: tuple[int, ...] = ()) -> None:
        self.library, self.setting, self.log, self.fails, self.busy = library, "default", log, fails, busy
        self.asked, self.stopped = 0, False

    def ask(self, do: str, **request) -> dict:
        self.log.append(self.library.name)
        self.asked += 1
        if self.asked == self.fails:
            raise WorkerError("out of memory")
        disturbed = self.asked in self.busy
        return {"seconds": [float(self.asked)] * request["n"], "peak": self.asked, "disturbed": disturbed}

    def stop(self) -> None:
        self.stopped = True


def everyone(*fakes: Fake) -> Workers:
    made = Workers(Silent())
    made.all = list(fakes)
    return made


def test_everyone_takes_the_same_steps_in_turns():
    log: list[str] = []
    found = interleaved(everyone(Fake(OWN, log), Fake(PEERS[0], log)), 4, 8, 32, Random(0))
    assert [len(steps.seconds) for steps in found.values()] == [8, 8]
    assert all(set(log[i : i + 2]) == {"saelab", "sae-lens"} for i in range(0, len(log), 2))
    assert len({tuple(log[i : i + 2]) for i in range(0, len(log), 2)}) == 2  # in either order


def test_only_the_later_steps_count_and_the_peak_is_the_highest():
    own = Fake(OWN, [])
    steps = interleaved(everyone(own), 4, 4, 32, Random(0))[own]
    assert steps.seconds == [5.0, 6.0, 7.0, 8.0] and steps.peak == 8


def test_blocks_in_which_others_took_cores_are_left_out():
    own = Fake(OWN, [], busy=(6, 8))
    steps = interleaved(everyone(own), 4, 4, 32, Random(0))[own]
    assert steps.seconds == [5.0, 7.0] and steps.disturbed_share == 0.5


def test_where_nearly_all_blocks_are_disturbed_all_of_them_count():
    own = Fake(OWN, [], busy=(5, 6, 7, 8))
    steps = interleaved(everyone(own), 4, 4, 32, Random(0))[own]
    assert steps.seconds == [5.0, 6.0, 7.0, 8.0] and steps.disturbed_share == 1


def test_a_library_that_fails_is_left_out_and_said():
    peer = Fake(PEERS[0], [], fails=3)
    workers = everyone(Fake(OWN, []), peer)
    found = interleaved(workers, 4, 4, 32, Random(0))
    assert [worker.name for worker in found] == ["saelab, default"] and peer.stopped
    assert workers.notes == ["sae-lens, default is left out: out of memory"]


def test_our_own_failure_is_not_passed_over():
    with pytest.raises(BenchError, match="saelab, default: out of memory"):
        interleaved(everyone(Fake(OWN, [], fails=1)), 4, 4, 32, Random(0))
