"""Measure claims, one after the other; runs that several claims share are trained once."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
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
    return Proved(rows)


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
        claim.source, time.monotonic() - started, datetime.now(timezone.utc).date().isoformat(),
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
