"""What a run will cost, found out without doing it: `saelab train --dry-run`."""

import statistics
import time
from contextlib import closing
from typing import Any

import torch

from saelab.contracts import Batch
from saelab.train.config import TrainConfig
from saelab.train.data import TOKENS, RowSource, rows_of
from saelab.train.end_to_end import Contexts, counted_rows
from saelab.train.normalise import Normalisation
from saelab.train.plans import Plan, plans
from saelab.train.trainee import Trainee


def plan(cfg: TrainConfig, source: RowSource | None = None) -> dict[str, Any]:
    """What `train` would do: SAEs, steps, memory, bytes on disk, and seconds from three steps on random rows."""
    source = source or rows_of(cfg)
    wanted = plans(cfg, source)
    costs = [_cost(each, source) for each in wanted]
    return {
        "SAEs": ", ".join(each.name for each in wanted),
        "device": wanted[0].train.device,
        "rows": max(each.train.steps * each.train.batch for each in wanted),
        "steps": max(each.train.steps for each in wanted),
        "learning rate": ", ".join(f"{each.train.lr:.2g}" for each in wanted),
        "memory in MB": sum(cost["memory"] for cost in costs) / 1e6,
        "disk in MB": sum(cost["disk"] for cost in costs) / 1e6,
        "seconds": sum(cost["seconds"] for cost in costs),
    }


def _cost(wanted: Plan, source: RowSource) -> dict[str, float]:
    """Bytes and seconds of one SAE. Memory: weights, gradients, two moments. Disk: the checkpoint and its state."""
    cfg, train = wanted.sae, wanted.train
    with torch.random.fork_rng(wanted.cuda_devices):
        x = torch.randn(train.batch, cfg.d_in, device=train.device)
        y = x if wanted.target is None else torch.randn(train.batch, cfg.d_out or cfg.d_in, device=train.device)
        trainee = Trainee(wanted, Normalisation.of(x, y))
        batch, contexts = Batch(x, y, y if cfg.wants_gradient else None), None
        if train.end_to_end is not None:
            batch, contexts = _real(trainee, source)
        seconds = statistics.median(_timed(trainee, batch, contexts) for _ in range(3))
    size = 4.0 * sum(p.numel() for p in trainee.sae.parameters())
    return {"memory": 4 * size, "disk": 4 * size, "seconds": seconds * train.steps}


def _real(trainee: Trainee, source: RowSource) -> tuple[Batch, Contexts | None]:
    """The first batch of the source, whose contexts the model is to read."""
    sites, train = trainee.plan.sites, trainee.cfg
    with closing(source.batches([*sites, TOKENS], train.batch, 0)) as batches:
        rows, contexts = counted_rows(source, next(batches), sites[-1], train.device)
    return trainee.normalisation.batch(rows[sites[0]], rows[sites[-1]]), contexts


def _timed(trainee: Trainee, batch: Batch, contexts: Contexts | None) -> float:
    """Seconds of one step; reading the loss waits for the device."""
    started = time.monotonic()
    trainee.descend(batch, contexts)[0].item()
    return time.monotonic() - started
