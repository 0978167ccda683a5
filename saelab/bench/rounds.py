"""Workers take turns, so that whatever else the machine does slows all of them alike."""

from dataclasses import dataclass, field
from random import Random

from saelab.bench.workers import Worker, Workers

BLOCK = 5  # steps of one library before the next one's turn, at most
ROUNDS = 4  # at least: fewer would not even out what else the machine does
MOST_DISTURBED = 0.75  # share of the blocks that may be left out


@dataclass
class Steps:
    """What a worker's blocks of steps took."""

    quiet: list[list[float]] = field(default_factory=list)  # seconds of each step
    disturbed: list[list[float]] = field(default_factory=list)  # of blocks in which other processes took cores
    peak: int = 0  # bytes

    @property
    def disturbed_share(self) -> float:
        return len(self.disturbed) / max(1, len(self.quiet) + len(self.disturbed))

    @property
    def seconds(self) -> list[float]:
        """Of quiet blocks, where there are enough of them; else of all."""
        counted = self.quiet if self.disturbed_share <= MOST_DISTURBED else self.quiet + self.disturbed
        return [second for block in counted for second in block]


def interleaved(everyone: Workers, warm: int, timed: int, batch: int, order: Random) -> dict[Worker, Steps]:
    """`warm` steps of every library, then `timed` ones that count; of those who did not fail."""
    everyone.progress.start(f"steps of {batch} rows", (warm + timed) * len(everyone.all), "steps")
    _rounds(everyone, warm, batch, order)
    return _rounds(everyone, timed, batch, order)


def _rounds(everyone: Workers, count: int, batch: int, order: Random) -> dict[Worker, Steps]:
    found = {worker: Steps() for worker in everyone.all}
    block = max(1, min(BLOCK, count // ROUNDS))
    for begin in range(0, count, block):
        n = min(block, count - begin)
        for worker in order.sample(everyone.all, len(everyone.all)):
            answer = everyone.ask(worker, "steps", n=n, batch=batch)
            if answer is not None:
                steps = found[worker]
                (steps.disturbed if answer["disturbed"] else steps.quiet).append(answer["seconds"])
                steps.peak = max(steps.peak, answer["peak"])
            everyone.progress.advance(n)
    return {worker: found[worker] for worker in everyone.all}
