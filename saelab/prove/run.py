"""Measure claims, one after the other; runs that several claims share are trained once."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from statistics import mean, stdev
from typing import Any

from saelab.contracts import Progress, Silent
from saelab.errors import ConfigError
from saelab.process import keep_freed_memory
from saelab.prove.claim import Claim
from saelab.prove.claims import CLAIMS

FORMAT = 1


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


@dataclass(frozen=True)
class Proved:
    """All rows, in the order of the registry."""

    date: str
    rows: list[ProvedClaim]

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Columns and rows for the terminal."""
        columns = ["claim", "bed", "says", "target", "measured", "spread", "seeds", ""]
        return columns, [
            [row.name, row.bed, row.says, row.target, row.measured, row.spread, row.seeds, _verdict(row)]
            for row in self.rows
        ]

    def to_json(self) -> dict[str, Any]:
        """Every figure; a row's verdict is called `pass`."""
        rows = [
            {("pass" if key == "passed" else key): value for key, value in asdict(row).items()} for row in self.rows
        ]
        return {"format": FORMAT, "date": self.date, "rows": rows}


def prove(
    names: Sequence[str] = (), fast: bool = True, seeds: int | None = None, progress: Progress | None = None
) -> Proved:
    """Measure the claims that `names` name, by claim or by variant; all of them when there are none.

    `fast` leaves out the slow ones that are not named themselves; `seeds` replaces every claim's own number.
    Raises ConfigError for a name that is neither.
    """
    keep_freed_memory()
    progress = progress or Silent()
    wanted = chosen(names, fast)
    progress.start("measuring claims", sum(seeds or claim.seeds for claim in wanted), "runs")
    rows = [_measured(claim, seeds or claim.seeds, progress) for claim in wanted]
    return Proved(datetime.now(timezone.utc).isoformat(timespec="seconds"), rows)


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


def _measured(claim: Claim, seeds: int, progress: Progress) -> ProvedClaim:
    started, values = time.monotonic(), []
    for seed in range(seeds):
        values.append(float(claim.measure(seed)))
        progress.advance(1)
    measured = mean(values)
    return ProvedClaim(
        claim.name, claim.variant, claim.bed, claim.says, str(claim.target), measured,
        stdev(values) if len(values) > 1 else None, seeds, values, claim.target.holds(measured), claim.note,
        claim.source, time.monotonic() - started,
    )  # fmt: skip


def _verdict(row: ProvedClaim) -> str:
    return "holds" if row.passed else "FAILS"
