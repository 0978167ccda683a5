"""One pass over the rows that feeds every SAE."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

import torch
from torch import Tensor

from saelab.contracts import Progress
from saelab.errors import Diverged, Interrupted, TrainError
from saelab.train.data import TOKENS, RowSource, ThroughModel
from saelab.train.end_to_end import counted_rows
from saelab.train.signals import stop_request
from saelab.train.trainee import Trainee


class Pass:
    """Trainees that read the same batches, each from the step it has reached.

    One that diverges goes from `trainees` to `diverged`, its last save untouched; the others go on.
    """

    def __init__(self, trainees: Sequence[Trainee], source: RowSource, progress: Progress) -> None:
        self.trainees, self.source, self.progress = list(trainees), source, progress
        self.plan = self.trainees[0].plan
        self.columns = list(dict.fromkeys(name for trainee in self.trainees for name in trainee.plan.columns))
        if isinstance(source, ThroughModel):
            self.columns.append(TOKENS)
        self.start = min(trainee.step for trainee in self.trainees)
        self.end = max(trainee.steps for trainee in self.trainees)
        self.diverged: list[Diverged] = []
        self._numbers = torch.ones((), dtype=torch.bool, device=self.plan.train.device)
        self._saved = time.monotonic()

    def run(self, look: Callable[[Trainee], object]) -> None:
        """Train all of them to their ends. `look` is called where held-out rows are due.

        A batch is a pure function of its number; so trainees whose saves are apart (a kill between two of them)
        meet again at the later one. Raises Interrupted after a signal, when everything is saved, and TrainError when
        rows are no numbers.
        """
        train = self.plan.train
        self.progress.start("train", (self.end - self.start) * train.batch, "rows")
        order = int(train.order_seed or 0)
        batches = self.source.batches(self.columns, train.batch, order, self.start)
        with stop_request() as stop, closing(batches):
            for index in range(self.start, self.end):
                if not self.trainees:
                    return
                self._step(next(batches), index, look)
                if stop.signal is not None or self._due():
                    self._save()
                if stop.signal is not None:
                    raise Interrupted(self._where(stop.signal.name, index + 1), stop.exit_code)
        self._save()

    def _step(self, rows: dict[str, Tensor], index: int, look: Callable[[Trainee], object]) -> None:
        first = self.trainees[0]
        rows, contexts = counted_rows(self.source, rows, self.plan.sites[-1], self.plan.train.device)
        x, y = rows[self.plan.sites[0]], rows[self.plan.sites[-1]]
        batch = first.normalisation.batch(x, y, rows.get(self.plan.gradient))
        for rows_read in (batch.x,) if batch.y is batch.x else (batch.x, batch.y):
            self._numbers &= rows_read.sum().isfinite()  # a sum of numbers is one, and costs no copy
        figures: dict[str, float] = {}
        for trainee in [one for one in self.trainees if one.step == index and not one.finished]:
            with self._dropping(trainee):
                loss = trainee.take(batch, contexts)
                figures = figures if loss is None else {"loss": loss}
                if self._looks(trainee):
                    look(trainee)
        self.progress.advance(self.plan.train.batch, **figures)

    @contextmanager
    def _dropping(self, trainee: Trainee) -> Iterator[None]:
        """Go on without `trainee` when it diverges inside. Raises TrainError when rows are to blame."""
        try:
            yield
        except Diverged as error:
            if not bool(self._numbers):
                raise TrainError(
                    f"rows of {' or '.join(dict.fromkeys(self.plan.sites))} are no numbers: a value up to row "
                    f"{trainee.rows:,} of this training is infinite or NaN.\n"
                    "  last save: untouched\n"
                    "  fix:       harvest again, or look at what made the rows: float16 ends at 65,504"
                ) from None
            self.trainees.remove(trainee)
            self.diverged.append(error)
            if self.trainees:
                self.progress.note(f"{error}\n  others:    {len(self.trainees)} of this pass go on")

    def _looks(self, trainee: Trainee) -> bool:
        every, batch = self.plan.cfg.eval_every, self.plan.train.batch
        crossed = every > 0 and trainee.rows // every > (trainee.rows - batch) // every
        return trainee.finished or crossed

    def _due(self) -> bool:
        return time.monotonic() - self._saved >= 60 * self.plan.cfg.save_minutes

    def _save(self) -> None:
        for trainee in list(self.trainees):
            with self._dropping(trainee):
                trainee.save()
        self._saved = time.monotonic()

    def _where(self, signal: str, steps: int) -> str:
        done, total = (count * self.plan.train.batch for count in (steps, self.end))
        return (
            f"stopped by {signal} after {done:,} of {total:,} rows; everything is saved.\n"
            "  next:  the same command goes on from here"
        )
