"""What libraries reach on the same rows in the same number of steps: FVU on held-out rows, several seeds each.

saelab trains as `saelab train` does with nothing set; every peer as it comes, and as it comes but for its learning
rate, which is also taken a third and three times as large. Of the three rates the best is the one with the least FVU
for the first seed; the other seeds then train at it too. A seed is that of the first weights, which all share, and of
the order of the rows. Held-out rows are of other documents wherever the store keeps some.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pydantic import Field

from saelab.bench.comparison import first_weights
from saelab.bench.machine import machine
from saelab.bench.peers.job import RATE, Job
from saelab.bench.peers.libraries import OWN, PEERS, Library
from saelab.bench.peers.own import TRAINER
from saelab.bench.rows import Rows, draw
from saelab.bench.workers import Worker, Workers, require_python, workers
from saelab.config import Settings
from saelab.contracts import Progress, Silent
from saelab.errors import ConfigError
from saelab.sae import sae_config
from saelab.sae.variants.matryoshka import MatryoshkaConfig
from saelab.train.defaults import default_learning_rate, resolve_device

FORMAT = 1
RATES = (1.0, 1 / 3, 3.0)  # times a peer's own
BLOCK = 20  # steps between two signs of life
LEFT_OUT = ("dense",)  # no library
WARMUP = 0.05


class QualityConfig(Settings):
    """What to train."""

    rows: str | None = Field(None, description="A store; null: pico's rows, harvested on the spot.")
    site: str | None = Field(None, description="Site of the store; null: the only one there is.")
    d_sae: int | None = Field(None, gt=0, description="Features; null: 8 times the width of the rows.")
    k: tuple[int, ...] = Field((16, 32, 64), min_length=1, description="Features kept per row.")
    variants: tuple[str, ...] = Field(("topk", "batchtopk", "matryoshka"), min_length=1, description="Architectures.")
    batch: int = Field(2048, gt=0, description="Rows per step.")
    steps: int = Field(300, gt=0, description="Steps of each training.")
    seeds: int = Field(3, gt=0, description="Trainings of each kind.")
    peers_python: Path | None = Field(None, description="Python of an environment with the peers; null: no peers.")


@dataclass(frozen=True)
class Trained:
    """One training."""

    library: str
    variant: str
    k: int
    rate: float  # times the library's own
    seed: int
    fvu: float
    l0: float
    how: str
    version: str | None


@dataclass(frozen=True)
class Level:
    """What a library reaches with one variant at one k: means over seeds."""

    library: str
    variant: str
    k: int
    rate: float
    fvu: float
    spread: float | None
    l0: float
    seeds: int

    @classmethod
    def of(cls, runs: Sequence[Trained]) -> "Level":
        one, errors = runs[0], [run.fvu for run in runs]
        spread = stdev(errors) if len(errors) > 1 else None
        return cls(
            one.library, one.variant, one.k, one.rate, mean(errors), spread, mean(run.l0 for run in runs), len(runs)
        )


@dataclass(frozen=True)
class QualityBench:
    """Every training, and the rows of the table made of them."""

    date: str
    machine: dict[str, Any]
    data: str
    settings: dict[str, Any]
    runs: list[Trained]
    notes: list[str]

    def levels(self) -> list[Level]:
        """By variant and k: ours, then each peer as it comes and at its best rate."""
        groups: dict[tuple[str, int, str, float], list[Trained]] = {}
        for run in self.runs:
            groups.setdefault((run.variant, run.k, run.library, run.rate), []).append(run)
        full = max(len(runs) for runs in groups.values())
        return [Level.of(runs) for runs in groups.values() if len(runs) == full]

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Columns and rows for the terminal."""
        columns = ["variant", "k", "library", "rate", "FVU", "sd", "x saelab", "L0", "seeds"]
        found = self.levels()
        own = {(one.variant, one.k): one.fvu for one in found if one.library == OWN.name}
        return columns, [
            [
                one.variant, one.k, one.library, f"{one.rate:.2g}", round(one.fvu, 4), one.spread,
                round(one.fvu / own[one.variant, one.k], 3), round(one.l0, 1), one.seeds,
            ]
            for one in found
        ]  # fmt: skip

    def beside(self, earlier: "QualityBench") -> "QualityBench":
        """With the trainings of an earlier run by libraries that did not train now; see `read_earlier`."""
        own = {run.library for run in self.runs}
        others = [run for run in earlier.runs if run.library not in own]
        note = f"{', '.join(dict.fromkeys(run.library for run in others))}: trained on {earlier.date[:10]}"
        return replace(self, runs=_in_order(self.settings, self.runs + others), notes=[*self.notes, note])

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return {"format": FORMAT, **asdict(self), "levels": [asdict(one) for one in self.levels()]}


def read_earlier(file: Path, data: str, settings: Mapping[str, Any]) -> QualityBench:
    """An earlier run from its JSON. Raises ConfigError where it is none, or of other rows or settings than these."""
    try:
        values = json.loads(file.read_bytes())
        plain = {name: values[name] for name in ("date", "machine", "data", "settings", "notes")}
        earlier = QualityBench(**plain, runs=[Trained(**run) for run in values["runs"]])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file} is no JSON of `saelab bench quality`: {error}") from None
    for what, there, here in (("rows", earlier.data, data), ("settings", earlier.settings, dict(settings))):
        if there != here:
            raise ConfigError(
                f"other libraries' trainings cannot be taken from {file}: its {what} differ.\n"
                f"  there: {there}\n  here:  {here}\n  fix:   the same options, or train all with --peers-python"
            )
    return earlier


def bench_quality(
    cfg: QualityConfig, progress: Progress | None = None, rows: Rows | None = None, earlier: Path | None = None
) -> QualityBench:
    """Train everyone on `rows`, or on those that `cfg` names; whoever does not is taken from the JSON `earlier`."""
    progress = progress or Silent()
    if cfg.peers_python is not None:
        require_python(cfg.peers_python)
    if rows is None:
        progress.note("drawing rows")
        rows = draw(cfg.rows, cfg.site, None, [cfg.batch * cfg.steps])
    asked = cfg.model_dump(mode="json", exclude={"rows", "peers_python"})
    before = earlier and read_earlier(earlier, rows.origin, asked)
    with TemporaryDirectory(prefix="saelab-bench-") as folder, workers(progress) as everyone:
        progress.start("training", _most(cfg) * cfg.steps, "steps")
        runs = _runs(cfg, rows, Path(folder), everyone)
    found = QualityBench(
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        machine=machine(),
        data=rows.origin,
        settings=asked,
        runs=runs,
        notes=[f"rows: {rows.origin}; {cfg.steps * cfg.batch:,} of them for each training", *everyone.notes],
    )
    return found.beside(before) if before else found


def _libraries(cfg: QualityConfig) -> list[Library]:
    peers = PEERS if cfg.peers_python is not None else ()
    return [OWN, *(peer for peer in peers if peer.name not in LEFT_OUT)]


def _most(cfg: QualityConfig) -> int:
    """Trainings at most: a peer's best rate may be its own."""
    of = {True: cfg.seeds, False: len(RATES) + 2 * (cfg.seeds - 1)}
    kinds = [
        (library, variant) for library in _libraries(cfg) for variant in cfg.variants if variant in library.variants
    ]
    return sum(of[library is OWN] for library, _ in kinds) * len(cfg.k)


def _runs(cfg: QualityConfig, rows: Rows, folder: Path, everyone: Workers) -> list[Trained]:
    """Library by library, each in one process; a peer that fails is left out from then on."""
    _write(_job(cfg, rows, cfg.variants[0], cfg.k[0], 0), rows, folder)
    runs = []
    for library in _libraries(cfg):
        own = library is OWN or cfg.peers_python is None
        python = Path(sys.executable) if own else cfg.peers_python.absolute()  # type: ignore[union-attr]
        everyone.all.append(worker := Worker(library, _setting(library, 1.0), python, folder))
        everyone.attempt(worker, worker.hello)
        for variant in [name for name in cfg.variants if name in library.variants]:
            for k in cfg.k:
                runs += list(_seeds(cfg, rows, everyone, worker, variant, k))
        if worker in everyone.all:
            everyone.all.remove(worker)
            worker.stop()
    return _in_order(cfg.model_dump(mode="json"), runs)


def _in_order(settings: Mapping[str, Any], runs: Sequence[Trained]) -> list[Trained]:
    """By variant and k, library by library."""
    places = {variant: place for place, variant in enumerate(settings["variants"])}
    return sorted(runs, key=lambda run: (places[run.variant], run.k))


def _seeds(
    cfg: QualityConfig, rows: Rows, everyone: Workers, worker: Worker, variant: str, k: int
) -> Iterator[Trained]:
    """One library's trainings of one kind: with the first seed at every rate, with the others at its own and the best.

    None of them when the library fails at one.
    """
    found: list[Trained] = []
    rates: tuple[float, ...] = (1.0,) if worker.library is OWN else RATES
    for seed in range(cfg.seeds):
        job = _job(cfg, rows, variant, k, seed)
        _write(job, rows, worker.folder)
        for rate in rates:
            trained = _train(everyone, worker, job, rate) if worker in everyone.all else None
            if trained is None:
                return
            found.append(trained)
        rates = tuple(dict.fromkeys((1.0, min(found[: len(RATES)], key=lambda one: one.fvu).rate)))
    yield from sorted(found, key=lambda one: (one.rate != 1.0, one.rate, one.seed))


def _train(everyone: Workers, worker: Worker, job: Job, rate: float) -> Trained | None:
    begun = everyone.ask(worker, "again", setting=_setting(worker.library, rate))
    for start in range(0, job.steps, BLOCK):
        n = min(BLOCK, job.steps - start)
        if begun is None or everyone.ask(worker, "steps", n=n, batch=job.batch) is None:
            return None
        everyone.progress.advance(n)
    answer = everyone.ask(worker, "fvu")
    if begun is None or answer is None:
        return None
    figures = {"fvu": answer["fvu"], "l0": answer["l0"], "how": begun["how"], "version": worker.about["version"]}
    return Trained(worker.library.name, job.variant, job.k, rate, job.seed, **figures)


def _setting(library: Library, rate: float) -> str:
    return TRAINER if library is OWN else "default" if rate == 1 else f"{RATE}{rate}"


def _job(cfg: QualityConfig, rows: Rows, variant: str, k: int, seed: int) -> Job:
    d_sae = cfg.d_sae or 8 * rows.d_in
    groups: tuple[float, ...] = ()
    if variant == "matryoshka":
        made = sae_config({"variant": variant, "d_in": rows.d_in, "d_sae": d_sae, "k": k})
        assert isinstance(made, MatryoshkaConfig)
        groups = made.groups
    return Job(
        variant=variant,
        d_in=rows.d_in,
        d_sae=d_sae,
        k=k,
        batch=cfg.batch,
        steps=cfg.steps,
        lr=default_learning_rate(d_sae, cfg.steps * cfg.batch),
        warmup=max(1, round(WARMUP * cfg.steps)),
        dead_after=(cfg.steps + 1) * cfg.batch,
        device=resolve_device("auto"),
        groups=groups,
        seed=seed,
    )


def _write(job: Job, rows: Rows, folder: Path) -> None:
    """What the worker reads next: the rows in the order of this seed."""
    order = torch.randperm(len(rows.train), generator=torch.Generator().manual_seed(job.seed))
    tensors = {"rows": rows.train[order], "heldout": rows.heldout, "W_dec": first_weights(job)}
    job.write(folder, tensors)
