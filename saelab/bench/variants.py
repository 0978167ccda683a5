"""Whole training steps of every sparse variant on the same rows, beside TopK's: each trained a while, then in turns.

A step of a variant whose L0 is not given but found costs less as it gets sparser, so every variant is trained for
`warm` steps before it is timed; L0 is stated. Gradients that gsae reads beside its rows are noise: time does not depend
on them.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from saelab.bench.machine import machine
from saelab.bench.rows import Rows, draw
from saelab.bench.train_result import median
from saelab.config import settings
from saelab.contracts import Batch, Progress, Silent
from saelab.process import keep_freed_memory
from saelab.sae import VARIANTS, sae_config
from saelab.train import TrainConfig
from saelab.train.defaults import default_dead_after, default_learning_rate, resolve_device
from saelab.train.normalise import Normalisation
from saelab.train.plans import Plan
from saelab.train.trainee import Trainee

FORMAT, BLOCK = 1, 5  # steps of one variant before the next one's turn
BASE = "topk"
DENSE = ("bilinear",)  # has no sparse code


@dataclass(frozen=True)
class Timed:
    """One variant; medians over single steps."""

    variant: str
    settings: dict[str, Any]
    l0: float
    ms_per_step: float
    times_topk: float
    update: str  # the optimiser's path


@dataclass(frozen=True)
class VariantBench:
    """All of them, the fastest first."""

    date: str
    machine: dict[str, Any]
    data: str
    d_in: int
    d_sae: int
    k: int
    batch: int
    rows: list[Timed]

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Columns and rows for the terminal."""
        return ["variant", "L0", "ms/step", "x topk", "update"], [
            [row.variant, round(row.l0, 1), round(row.ms_per_step, 2), round(row.times_topk, 2), row.update]
            for row in self.rows
        ]

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return {"format": FORMAT, **asdict(self)}


def bench_variants(
    rows: str | None = None, d_sae: int | None = None, k: int = 32, batch: int = 2048, warm: int = 100, steps: int = 40,
    progress: Progress | None = None, data: Rows | None = None,
) -> VariantBench:  # fmt: skip
    """Time `steps` steps of each on `data`, or on the rows of a store, or on pico's."""
    keep_freed_memory()
    progress = progress or Silent()
    data = data or draw(rows, None, None, [batch])
    width = d_sae or 8 * data.d_in
    names = [name for name in VARIANTS if name not in DENSE]
    progress.start("steps", len(names) * (warm + steps), "steps")
    running = {name: _trainee(name, data.d_in, width, k, batch, warm + steps) for name in names}
    batches = {name: _batches(data.train, batch, running[name].cfg.device) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    order = Random(0)
    for begin in range(0, warm + steps, BLOCK):
        for name in order.sample(names, len(names)):
            for number in range(begin, min(begin + BLOCK, warm + steps)):
                spent = _step(running[name], next(batches[name]))
                seconds[name] += [spent] if number >= warm else []
                progress.advance(1)
    times = {name: 1e3 * median(found) for name, found in seconds.items()}
    timed = [
        Timed(
            name, _own(name, k), _l0(running[name], data.heldout), times[name], times[name] / times[BASE],
            running[name].optimiser.path,
        )
        for name in sorted(names, key=times.__getitem__)
    ]  # fmt: skip
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return VariantBench(date, machine(), data.origin, data.d_in, width, k, batch, timed)


def _own(variant: str, k: int) -> dict[str, Any]:
    """What sets the sparsity to k where a variant lets it be set."""
    fields = VARIANTS[variant].Config.model_fields
    return {name: k for name in ("k", "target_l0") if name in fields}


def _trainee(variant: str, d_in: int, d_sae: int, k: int, batch: int, steps: int) -> Trainee:
    sae = {"variant": variant, "d_in": d_in, "d_sae": d_sae, **_own(variant, k)}
    total = steps * batch
    made = sae_config(sae)
    derived = {"lr": default_learning_rate(d_sae, total), "dead_after": default_dead_after(total, d_sae, made.active)}
    train = {"rows": total, "batch": batch, "device": resolve_device("auto"), **derived}
    cfg = settings(TrainConfig, {"sae": sae, "train": train}, where="bench variants")
    centre = torch.zeros(d_in, device=cfg.train.device)
    plan = Plan("bench", Path("bench"), made, cfg, "rows", None, {})
    return Trainee(plan, Normalisation(centre, 1.0, centre, 1.0))


def _batches(rows: Tensor, batch: int, device: str) -> Iterator[Batch]:
    """Consecutive rows, over and over."""
    noise = torch.randn(batch, rows.shape[1], generator=torch.Generator().manual_seed(0)).to(device)
    while True:
        for start in range(0, len(rows) - batch + 1, batch):
            x = rows[start : start + batch].to(device)
            yield Batch(x, x, noise)


def _step(trainee: Trainee, batch: Batch) -> float:
    """Its seconds; a GPU is waited for on both sides."""
    cuda = torch.device(trainee.cfg.device).type == "cuda"
    if cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    trainee.descend(batch)
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


@torch.no_grad()
def _l0(trainee: Trainee, x: Tensor) -> float:
    """Mean number of active features on held-out rows."""
    sae = trainee.sae.eval()
    return sae.encode_sparse(x.to(trainee.cfg.device)).l0.double().mean().item()
