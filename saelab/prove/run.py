"""Measure claims, as many at a time as there are workers; a worker trains once what several of its claims share."""

import json
import multiprocessing
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from saelab.contracts import Progress, Silent
from saelab.errors import ConfigError
from saelab.process import keep_freed_memory, leaving_on_sigterm
from saelab.prove.claim import Claim
from saelab.prove.claims import CLAIMS

FORMAT = 1
Task = tuple[int, list[str]]  # a seed, and the claims to be measured with it


@dataclass(frozen=True)
class Measured:
    """One number of one claim with one seed, and the seconds it took."""

    value: float
    seconds: float


@dataclass(frozen=True)
class ProvedClaim:
    """One claim and what was measured: the mean over seeds, and their standard deviation."""

    name: str
    variant: str
    bed: str
    says: str
    target: str
    measured: float
    spread: float | None  # None of one seed
    seeds: int
    values: list[float]
    passed: bool
    note: str
    source: str
    seconds: float
    date: str


@dataclass(frozen=True)
class Proved:
    """All rows, in the order of the registry."""

    rows: list[ProvedClaim]

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Columns and rows for the terminal."""
        columns = ["claim", "bed", "says", "target", "measured", "spread", "seeds", ""]
        return columns, [
            [row.name, row.bed, row.says, row.target, row.measured, row.spread, row.seeds, _verdict(row)]
            for row in self.rows
        ]

    def to_json(self, earlier: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Every figure; a row's verdict is called `pass`. Rows of `earlier` stay where they were not measured again."""
        rows = {row["name"]: row for row in (earlier or {}).get("rows", [])}
        for row in self.rows:
            rows[row.name] = {("pass" if key == "passed" else key): value for key, value in asdict(row).items()}
        places = {name: place for place, name in enumerate(CLAIMS)}
        kept = [row for name, row in rows.items() if name in places]  # a claim that is no longer made has no row
        return {"format": FORMAT, "rows": sorted(kept, key=lambda row: places[row["name"]])}


def prove(
    names: Sequence[str] = (),
    fast: bool = True,
    seeds: int | None = None,
    progress: Progress | None = None,
    workers: int = 1,
) -> Proved:
    """Measure the claims that `names` name, by claim or by variant; all of them when there are none.

    `fast` leaves out the slow ones that are not named themselves; `seeds` replaces every claim's own number.
    `workers` processes share the runs, one thread each: the steps are too small for a second thread to help them.
    Raises ConfigError for a name that is neither.
    """
    progress = progress or Silent()
    wanted = chosen(names, fast)
    runs = {claim.name: seeds or claim.seeds for claim in wanted}
    progress.start("measuring claims", sum(runs.values()), "runs")
    found: dict[str, dict[int, Measured]] = {claim.name: {} for claim in wanted}
    for seed, measured in _measured(tasks(wanted, runs), workers):
        for name, one in measured.items():
            found[name][seed] = one
        progress.advance(len(measured))
    return Proved([_row(claim, [found[claim.name][seed] for seed in range(runs[claim.name])]) for claim in wanted])


def tasks(wanted: Sequence[Claim], runs: Mapping[str, int]) -> list[Task]:
    """Claims of one variant, which share trainings, go to one worker seed by seed; the longest first."""
    variants = list(dict.fromkeys(claim.variant for claim in wanted))
    made = [
        (seed, names)
        for variant in variants
        for seed in range(max(runs.values()))
        if (names := [claim.name for claim in wanted if claim.variant == variant and seed < runs[claim.name]])
    ]
    return sorted(made, key=lambda task: -len(task[1]))


def _measured(made: list[Task], workers: int) -> Iterator[tuple[int, dict[str, Measured]]]:
    """Every task's seed and what was measured, as they come to an end. No worker outlives this, however it ends."""
    if workers == 1:
        keep_freed_memory()
        yield from map(_measure, made)
        return
    with leaving_on_sigterm(), multiprocessing.get_context("spawn").Pool(workers, _begin) as pool:
        yield from pool.imap_unordered(_measure, made)


def _begin() -> None:
    """What each worker does first."""
    torch.set_num_threads(1)
    keep_freed_memory()


def _measure(task: Task) -> tuple[int, dict[str, Measured]]:
    seed, names = task
    measured = {}
    for name in names:
        started = time.monotonic()
        value = float(CLAIMS[name].measure(seed))
        measured[name] = Measured(value, time.monotonic() - started)
    return seed, measured


def chosen(names: Sequence[str], fast: bool) -> list[Claim]:
    """Claims by name or variant, in the order of the registry."""
    variants = {claim.variant for claim in CLAIMS.values()}
    for name in names:
        if name not in CLAIMS and name not in variants:
            raise ConfigError(
                f"{name!r} is neither a claim nor a variant that has one.\n"
                f"  claims:   {', '.join(CLAIMS)}\n  variants: {', '.join(sorted(variants))}"
            )
    return [
        claim
        for claim in CLAIMS.values()
        if claim.name in names or ((not names or claim.variant in names) and not (fast and claim.slow))
    ]


def _row(claim: Claim, measured: Sequence[Measured]) -> ProvedClaim:
    values = [one.value for one in measured]
    average = mean(values)
    return ProvedClaim(
        claim.name, claim.variant, claim.bed, claim.says, str(claim.target), average,
        stdev(values) if len(values) > 1 else None, len(values), values, claim.target.holds(average), claim.note,
        claim.source, sum(one.seconds for one in measured), datetime.now(timezone.utc).date().isoformat(),
    )  # fmt: skip


def _verdict(row: ProvedClaim) -> str:
    return "holds" if row.passed else "FAILS"


def read_proofs(path: Path) -> dict[str, Any] | None:
    """What an earlier run wrote to `path`; None where there is no file. Raises ConfigError for any other file."""
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        assert found["format"] == FORMAT and all("name" in row for row in found["rows"])
    except (ValueError, KeyError, TypeError, AssertionError):
        raise ConfigError(f"--json {path}: that file was not written by saelab prove; name another one") from None
    return dict(found)
