"""`saelab train`: rows in, checkpoints out; the same call again goes on, or returns what is there."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from saelab.contracts import Progress, Silent
from saelab.errors import TrainError
from saelab.locks import alone
from saelab.process import keep_freed_memory
from saelab.sae import MODELS, Replacement
from saelab.train.config import TrainConfig
from saelab.train.data import RowSource, rows_of
from saelab.train.evaluate import Figures
from saelab.train.initialise import initialise
from saelab.train.loop import Pass
from saelab.train.normalise import normalisation_of
from saelab.train.plans import Plan, plans
from saelab.train.record import abandon, begin, finish, finished, keep, keeps, read_record
from saelab.train.sites import about_sites, in_units, over_sites, places
from saelab.train.trainee import Trainee


@dataclass(frozen=True)
class TrainResult:
    """A finished checkpoint and how good it is on held-out rows (None where the rows have no held-out part)."""

    name: str
    path: Path
    fvu: float | None
    l0: float | None
    dead_share: float | None  # share of features that fire on none of the held-out rows looked at
    dead_in_training: float  # share of features that did not fire on the last `dead_after` training rows
    cosine: float | None
    rows: int
    seconds: float  # of this call; 0 when the checkpoint was there already
    own: dict[str, float]  # what the variant has to say of the held-out rows beyond these
    reproduces_rows: bool  # as an SAE does; False: there is nothing to index, steer or splice


def train(cfg: TrainConfig, progress: Progress | None = None, source: RowSource | None = None) -> list[TrainResult]:
    """Train every SAE of `cfg` in one pass over the rows of `source`, by default those of `cfg.store`.

    Raises TrainError for SAEs that diverged, when the others are done.
    """
    keep_freed_memory()
    started, source = time.monotonic(), over_sites(cfg, source or rows_of(cfg))
    wanted = plans(cfg, source)
    unfinished = [plan for plan in wanted if not finished(plan)]
    if unfinished:
        with torch.random.fork_rng(unfinished[0].cuda_devices):
            _train(unfinished, source, progress or Silent())
    seconds = time.monotonic() - started
    return [_result(plan, seconds if plan in unfinished else 0.0) for plan in wanted]


def _train(unfinished: Sequence[Plan], source: RowSource, progress: Progress) -> None:
    with ExitStack() as held:
        for plan in unfinished:
            plan.folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(alone(plan.folder, TrainError))
        _train_alone(unfinished, source, progress)


def _train_alone(unfinished: Sequence[Plan], source: RowSource, progress: Progress) -> None:
    for plan in unfinished:
        begin(plan)
    try:
        folders, starts = [p.folder for p in unfinished], [p.train.start_from for p in unfinished]
        source = in_units(source, unfinished[0].sites, folders, starts)
        trainees = _trainees(unfinished, source, progress)
        look = _looker(source, unfinished[0], progress)
    except BaseException:
        for plan in unfinished:
            abandon(plan)
        raise
    rows = Pass(trainees, source, progress)
    rows.run(partial(_look, source, look))
    for trainee in rows.trainees:
        finish(trainee, about_sites(source, trainee.plan.site, trainee.plan.target))
    if rows.diverged:
        raise TrainError("\n".join(str(error) for error in rows.diverged))


def _look(source: RowSource, look: Callable[[Trainee], Figures | None], trainee: Trainee) -> None:
    """Look at held-out rows, and keep a checkpoint where one is due."""
    figures = look(trainee)
    if keeps(trainee):
        keep(trainee, figures, about_sites(source, trainee.plan.site, trainee.plan.target))


def _trainees(unfinished: Sequence[Plan], source: RowSource, progress: Progress) -> list[Trainee]:
    """Each where an earlier call left it."""
    first = unfinished[0]
    normalisation = normalisation_of(source, first.sites, [plan.folder for plan in unfinished], first.train.device)
    trainees = [Trainee(plan, normalisation, progress) for plan in unfinished]
    for trainee in trainees:
        trainee.resume()
    initialise(trainees, source)
    return trainees


def _looker(source: RowSource, plan: Plan, progress: Progress) -> Callable[[Trainee], Figures | None]:
    """What looks at held-out rows, in raw units; where there are none it says so once and looks at nothing."""
    heldout = source.heldout(plan.sites, plan.cfg.heldout_rows)
    if heldout is None:
        progress.note("the rows have no held-out part: these checkpoints will carry no held-out figures")
        return lambda trainee: None
    x, y = (_floats(heldout[site], plan.train.device) for site in (plan.sites[0], plan.sites[-1]))
    where = places(source, plan.sites[-1])
    return lambda trainee: trainee.look(x, y, where)


def _floats(rows: Tensor, device: str) -> Tensor:
    return rows.to(device).float()


def _result(plan: Plan, seconds: float) -> TrainResult:
    record = read_record(plan)
    assert record is not None
    figures = record["heldout"] or {}
    shown = {key: figures.get(key) for key in ("fvu", "l0", "dead_share", "cosine")}
    rows, dead = record["rows"], record["dead_in_training"]
    own, kind = figures.get("own", {}), MODELS[plan.sae.variant]
    reproduces_rows = kind.reproduces_rows and not issubclass(kind, Replacement)
    return TrainResult(
        plan.name, plan.folder, dead_in_training=dead, rows=rows, seconds=seconds, own=own,
        reproduces_rows=reproduces_rows, **shown,
    )  # fmt: skip
