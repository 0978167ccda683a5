"""What `saelab bench train` found: rows of a table, notes to read it by, and both as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from saelab.bench.peers.job import Job
from saelab.bench.proof import TOLERANCE
from saelab.bench.rounds import MOST_DISTURBED, Steps
from saelab.bench.workers import Worker

FORMAT = 1


@dataclass(frozen=True)
class Proof:
    """How far a library's gradients are from those in fp64, and what AuxK adds to them, by parameter."""

    distances: dict[str, float]
    auxk: dict[str, float]  # |gradient of AuxK| / |gradient of the reconstruction|, half the features dead


@dataclass(frozen=True)
class Row:
    """One library under one setting at one batch size. Times are of whole steps, medians; rates follow from them."""

    library: str
    variant: str
    setting: str
    how: str
    d_in: int
    d_sae: int
    k: int
    batch: int
    ms_per_step: float
    ms_p10: float
    ms_p90: float
    ms_with_dead: float | None  # ms_per_step while one feature in 16 is dead; at the main batch size only
    times_saelab: float  # ms_per_step / saelab's
    tokens_per_s: float
    peak_bytes: int  # beyond the rows: weights, optimiser, temporaries
    peak_of: str
    disturbed: float  # share of the timed blocks in which other processes took cores; left out where others remain
    fvu: float | None  # on held-out rows after training; at the main batch size only
    proof: Proof | None
    version: str | None
    torch: str

    @classmethod
    def of(cls, worker: Worker, job: Job, batch: int, steps: Steps, own: float, proof: Proof | None) -> "Row":
        """`own`: saelab's seconds per step at this batch size."""
        ms = torch.tensor(steps.seconds, dtype=torch.float64) * 1e3
        p10, middle, p90 = (ms.quantile(q).item() for q in (0.1, 0.5, 0.9))
        return cls(
            library=worker.library.name,
            variant=job.variant,
            setting=worker.setting,
            how=worker.about["how"],
            d_in=job.d_in,
            d_sae=job.d_sae,
            k=job.k,
            batch=batch,
            ms_per_step=middle,
            ms_p10=p10,
            ms_p90=p90,
            ms_with_dead=None,
            times_saelab=middle / 1e3 / own,
            tokens_per_s=batch * 1e3 / middle,
            peak_bytes=steps.peak,
            peak_of=worker.about["peak_of"],
            disturbed=steps.disturbed_share,
            fvu=None,
            proof=proof,
            version=worker.about["version"],
            torch=worker.about["torch"],
        )


@dataclass(frozen=True)
class TrainBench:
    """All rows, the main batch size first."""

    date: str
    machine: dict[str, Any]
    data: str
    settings: dict[str, Any]
    rows: list[Row]
    notes: list[str]

    @property
    def title(self) -> str:
        one = self.rows[0]
        return f"{one.variant}, d_in {one.d_in}, d_sae {one.d_sae}, k {one.k}"

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Columns and rows for the terminal."""
        columns = [
            "library",
            "setting",
            "batch",
            "ms/step",
            "x saelab",
            "with dead",
            "rows/s",
            "peak MB",
            "FVU",
            "gradients off",
        ]
        return columns, [_cells(row) for row in self.rows]

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return {"format": FORMAT, **asdict(self)}


def _cells(row: Row) -> list[Any]:
    return [
        row.library,
        row.setting,
        row.batch,
        round(row.ms_per_step, 2),
        round(row.times_saelab, 2),
        row.ms_with_dead,
        round(row.tokens_per_s),
        round(row.peak_bytes / 1e6),
        row.fvu,
        None if row.proof is None else f"{max(row.proof.distances.values()):.0e}",
    ]


def explained(rows: Sequence[Row]) -> list[str]:
    """How to read the columns, and what this run's figures say beyond them."""
    proofs = {f"{row.library}, {row.setting}": row.proof for row in rows if row.proof is not None}
    auxk = "; ".join(f"{name} {proof.auxk['W_enc']:.1g}, {proof.auxk['W_dec']:.1g}" for name, proof in proofs.items())
    return [
        *_busy(rows),
        "with dead: ms/step while one feature in 16 is dead, so that AuxK is at work",
        "peak: weights, optimiser and temporaries, while no feature is dead; the rows do not count",
        f"gradients off: |g - g*| / |g*| of the furthest parameter, g* in fp64; fp32 stays below {TOLERANCE:.0e}",
        f"AuxK's gradient beside the reconstruction's, half the features dead, W_enc and W_dec: {auxk}",
        'learning rate: in every "best" row saelab\'s for so short a run, rising over the first 5 %, then level',
    ]


def _busy(rows: Sequence[Row]) -> list[str]:
    """A warning when other processes worked all the time."""
    worst = max(row.disturbed for row in rows)
    if worst == 0:
        return []
    said = f"other processes took cores in up to {worst:.0%} of a library's timed blocks; "
    if worst <= MOST_DISTURBED:
        return [said + "these are left out"]
    return [f"THE MACHINE WAS BUSY: {said}too many to leave out. Libraries suffer unequally: measure again"]


def median(values: Sequence[float]) -> float:
    return torch.tensor(values, dtype=torch.float64).quantile(0.5).item()
