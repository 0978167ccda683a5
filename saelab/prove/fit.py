"""Train an SAE on a bed as `saelab train` would, in memory."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from saelab.config import settings
from saelab.sae import SAE
from saelab.synthetic import Bed, Scores, SyntheticRows, bed, score
from saelab.train import TrainConfig
from saelab.train.initialise import initialise
from saelab.train.normalise import Normalisation
from saelab.train.plans import plans
from saelab.train.trainee import Trainee

SCALE_ROWS = 8192  # of which centre and scale are taken
Settings = tuple[tuple[str, Any], ...]  # a dict that can be remembered


@dataclass(frozen=True)
class Fitted:
    """What came of one run."""

    sae: SAE  # for raw rows, in evaluation mode
    trainee: Trainee  # in training units
    bed: Bed

    @property
    def scores(self) -> Scores:
        """Against the truth, on held-out rows."""
        return _scores(self)


@cache
def fit(
    kind: str,
    seed: int,
    /,
    *,
    steps: int,
    batch: int = 512,
    of: Settings = (),
    train: Settings = (),
    begin: Callable[[SAE], None] | None = None,
    **sae: Any,
) -> Fitted:
    """`steps` steps on bed `kind` (with settings `of`) of an SAE with the settings `sae`; the same call is free.

    `seed` is the bed's, the weights' and the rows'. `train` are settings of the optimiser; `begin` changes the first
    weights in place.
    """
    one = bed({"bed": kind, "seed": seed, **dict(of)})
    source = SyntheticRows(one)
    values = {
        "sae": sae,
        "train": {"rows": steps * batch, "batch": batch, "seed": seed, **dict(train)},
        "out": "unwritten",
    }
    (plan,) = plans(settings(TrainConfig, values, where="prove"), source)
    rows = source.sample(plan.sites, SCALE_ROWS)[plan.site]
    with torch.random.fork_rng(plan.cuda_devices):
        trainee = Trainee(plan, Normalisation.of(rows, rows))
        initialise([trainee], source)
        if begin is not None:
            begin(trainee.sae)
        batches = source.batches(plan.columns, batch, seed)
        for _ in range(steps):
            drawn = next(batches)
            x = drawn[plan.site]
            trainee.descend(trainee.normalisation.batch(x, x, drawn.get(plan.gradient)))
    trainee.check()
    return Fitted(trainee.folded(), trainee, one)


@cache
def _scores(fitted: Fitted) -> Scores:
    return score(fitted.sae, fitted.bed)
