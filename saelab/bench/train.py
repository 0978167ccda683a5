"""Whole training steps: saelab beside other libraries and beside the encoder's product alone, on the same rows.

A step is all that a library does with a batch: forward, backward, clipping or projection, optimiser, renormalisation,
counting what fired. Every library trains in a process of its own, from the same weights on the same batches; short
blocks of steps of all of them take turns, in an order that is drawn anew for every round, so that a machine that gets
busier meanwhile slows all alike. Times are medians over the later half, when the features' frequencies are those of
training; ratios are of such medians from one run. Gradients are proved equal beforehand (see proof).

In so short a run hardly any feature dies, or a handful does now and then, and AuxK, which several libraries pay dearly
for, runs in some steps only. So none counts as dead at first, and at the end, when all else is measured, one in 16 is
killed and the same steps are timed again.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from pydantic import Field, model_validator

from saelab.bench.comparison import FURTHER, Comparison
from saelab.bench.machine import machine
from saelab.bench.peers.job import Job
from saelab.bench.peers.libraries import PEERS
from saelab.bench.rows import Rows, draw
from saelab.bench.train_result import TrainBench
from saelab.bench.workers import HOW_TO, BenchError, require_python, workers
from saelab.config import Settings, settings
from saelab.contracts import Progress, Silent
from saelab.train.defaults import default_learning_rate, resolve_device

SPEED_ONLY = 40  # steps where none are asked for
WARMUP = 0.05  # share of the steps with a rising rate


class TrainBenchConfig(Settings):
    """What to time."""

    rows: str | None = Field(None, description="A store, or `gaussian`; null: pico's rows where they have this width.")
    site: str | None = Field(None, description="Site of the store; null: the only one there is.")
    d_in: int | None = Field(None, gt=0, description="Width of the rows; null: the store's, or pico's.")
    d_sae: int | None = Field(None, gt=0, description="Features; null: 16 times d_in.")
    k: int = Field(32, gt=0, description="Features kept per row.")
    variant: Literal["topk", "batchtopk"] = Field("topk", description="Architecture.")
    batch: int = Field(2048, gt=0, description="Rows per step.")
    steps: int = Field(600, ge=0, description="Steps to train, after which FVU is measured; 0: speed only.")
    batches: tuple[int, ...] = Field((), description="Further batch sizes to time, for a curve.")
    peers_python: Path | None = Field(None, description="Python of an environment with the peers; null: no peers.")
    only: tuple[str, ...] = Field((), description="Peers to time, as NAME or NAME/SETTING; empty: all.")

    @model_validator(mode="after")
    def _sizes(self) -> "TrainBenchConfig":
        if any(size <= 0 for size in self.batches):
            raise ValueError(f"batches {self.batches}: a batch has at least one row")
        known = [name for peer in PEERS for name in (peer.name, *(f"{peer.name}/{one}" for one in peer.settings))]
        if unknown := sorted(set(self.only) - set(known)):
            raise ValueError(f"no peer or setting {', '.join(unknown)}; there are {', '.join(known)}")
        return self

    @property
    def trained(self) -> int:
        return self.steps or SPEED_ONLY

    @property
    def curve(self) -> list[int]:
        return [size for size in self.batches if size != self.batch]


def configured(sizes: Sequence[int], peers: bool, values: Mapping[str, Any]) -> TrainBenchConfig:
    """Settings as the command line gives them: the first batch size is the main one; what is None is left out."""
    if peers and values.get("peers_python") is None:
        raise BenchError(f"--peers: which Python has them? Name it with --peers-python.\n{HOW_TO}")
    given = {key: value for key, value in values.items() if value is not None}
    batches = {"batch": sizes[0], "batches": tuple(sizes[1:])} if sizes else {}
    return settings(TrainBenchConfig, {**given, **batches}, where="bench train")


def bench_train(cfg: TrainBenchConfig, progress: Progress | None = None, rows: Rows | None = None) -> TrainBench:
    """Time everyone who can train `cfg.variant`, on `rows` or on those that `cfg` names."""
    progress = progress or Silent()
    if cfg.peers_python is not None:
        require_python(cfg.peers_python)
    if rows is None:
        progress.note("drawing rows")
        rows = draw(cfg.rows, cfg.site, cfg.d_in, [cfg.batch, *cfg.curve])
    job = _job(cfg, rows)
    with TemporaryDirectory(prefix="saelab-bench-") as folder, workers(progress) as everyone:
        comparison = Comparison(job, rows, Path(folder), everyone)
        comparison.start(cfg.peers_python, cfg.only)
        comparison.prove()
        comparison.train(cfg.trained, fvu=cfg.steps > 0)
        for batch in cfg.curve:
            comparison.time(batch)
        comparison.kill()
        return TrainBench(
            date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            machine=machine(),
            data=rows.origin,
            settings=cfg.model_dump(mode="json", exclude={"rows", "peers_python"}),  # `data` names the rows; no paths
            rows=comparison.rows,
            notes=comparison.notes(),
        )


def _job(cfg: TrainBenchConfig, rows: Rows) -> Job:
    d_sae, steps = cfg.d_sae or 16 * rows.d_in, cfg.trained + FURTHER * (1 + len(cfg.curve))
    return Job(
        variant=cfg.variant,
        d_in=rows.d_in,
        d_sae=d_sae,
        k=cfg.k,
        batch=cfg.batch,
        steps=steps,
        lr=default_learning_rate(d_sae, cfg.trained * cfg.batch),
        warmup=max(1, round(WARMUP * cfg.trained)),
        dead_after=(steps + 1) * max([cfg.batch, *cfg.batches]),
        device=resolve_device("auto"),
    )
