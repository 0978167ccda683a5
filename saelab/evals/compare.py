"""Several SAEs on the same held-out tokens, with equal definitions: `fidelity` of each, and `syntax` where asked."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from saelab.contracts import Progress, Silent
from saelab.errors import EvalError
from saelab.evals import fidelity, syntax
from saelab.lm import LanguageModel
from saelab.sae import SAE
from saelab.store import Store


@dataclass(frozen=True)
class Compared:
    """One SAE and its figures."""

    name: str
    variant: str
    d_sae: int
    settings: dict[str, Any]  # of the SAE
    figures: fidelity.Result
    labels: int | None = None  # of `syntax`, that a feature stands for (F1 >= 0.8); None: not measured


@dataclass(frozen=True)
class Comparison:
    """All of them, in the order in which they were named."""

    date: str
    model: str
    rows: list[Compared]

    @property
    def site(self) -> str:
        """Where they read; several where they differ."""
        return ", ".join(dict.fromkeys(row.figures.site for row in self.rows))

    def table(self) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Column names and rows."""
        columns = ("name", "variant", "d_sae", "L0", "FVU", "cosine", "CE recovered", "KL recovered", "dead share")
        rows = [
            (
                row.name, row.variant, row.d_sae, row.figures.l0, row.figures.fvu, row.figures.cosine,
                row.figures.ce_recovered, row.figures.kl_recovered, row.figures.dead_share,
            )
            for row in self.rows
        ]  # fmt: skip
        if not self.labelled:
            return columns, rows
        return (*columns, "labels"), [(*row, one.labels) for row, one in zip(rows, self.rows, strict=True)]

    @property
    def labelled(self) -> bool:
        return any(row.labels is not None for row in self.rows)

    def by_settings(self) -> tuple[tuple[str, ...], list[tuple[Any, ...]]] | None:
        """Means over SAEs that differ in their seed alone, and standard deviations; None where there are no such."""
        groups = repeated(self.rows)
        if all(len(rows) == 1 for rows in groups):
            return None
        columns = ("names", "seeds", "L0", "FVU", "sd", "CE recovered", "sd", "dead share")
        means = [
            (
                _shared_name([row.name for row in rows]), len(rows), _mean(rows, "l0"), _mean(rows, "fvu"),
                _deviation(rows, "fvu"), _mean(rows, "ce_recovered"), _deviation(rows, "ce_recovered"),
                _mean(rows, "dead_share"),
            )
            for rows in groups
        ]  # fmt: skip
        if not self.labelled:
            return columns, means
        labels = [mean(row.labels or 0 for row in rows) for rows in groups]
        return (*columns, "labels"), [(*row, one) for row, one in zip(means, labels, strict=True)]

    def notes(self) -> list[str]:
        """What must be known to read the table."""
        one = self.rows[0].figures
        lines = [
            f"{self.model}, {self.site}; {one.tokens:,} held-out tokens, the same for all; recovered: of what zero "
            "ablation destroys"
        ]
        if "," in self.site:
            lines.append("they read different sites: FVU and what is recovered are relative to the site")
        if self.labelled:
            lines.append(
                f"labels: of Python's syntax, that one feature stands for with an F1 of {syntax.GOOD:g} or more"
            )
        return lines

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return {"format": 1, **asdict(self)}


def compare(
    checkpoints: Sequence[Path],
    lm: LanguageModel,
    store: Store,
    tokens: int,
    progress: Progress | None = None,
    labels: bool = False,
) -> Comparison:
    """Measure every checkpoint on `tokens` held-out tokens of the store's corpus; `labels`: also by `syntax`.

    Raises EvalError when two checkpoints have one name, and what `fidelity.measure` raises.
    """
    progress = progress or Silent()
    names = distinct_names(checkpoints)
    saes = [SAE.load(checkpoint) for checkpoint in checkpoints]
    figures = fidelity.measure_all(saes, lm, store, fidelity.Config.model_validate({"tokens": tokens}), progress)
    found: list[int | None] = [None] * len(saes)
    if labels:
        found = [one.good for one in syntax.measure_all(saes, lm, store, syntax.Config(), progress)]
    rows = [
        Compared(name, sae.cfg.variant, sae.cfg.d_sae, sae.cfg.model_dump(mode="json"), one, good)
        for name, sae, one, good in zip(names, saes, figures, found, strict=True)
    ]
    return Comparison(datetime.now(timezone.utc).isoformat(timespec="seconds"), lm.name, rows)


def repeated(rows: Sequence[Compared]) -> list[list[Compared]]:
    """SAEs of the same settings at the same site, in the order of their first."""
    found: dict[str, list[Compared]] = {}
    for row in rows:
        found.setdefault(json.dumps([row.figures.site, row.settings], sort_keys=True), []).append(row)
    return list(found.values())


def _mean(rows: Sequence[Compared], figure: str) -> float:
    return mean(getattr(row.figures, figure) for row in rows)


def _deviation(rows: Sequence[Compared], figure: str) -> float | None:
    return stdev(getattr(row.figures, figure) for row in rows) if len(rows) > 1 else None


def _shared_name(names: Sequence[str]) -> str:
    """What all names begin with."""
    return "-".join(_common([name.split("-") for name in names])) if len(names) > 1 else names[0]


def distinct_names(checkpoints: Sequence[Path]) -> list[str]:
    """The folders' names; with the folder above where names repeat. Raises EvalError when one is named twice."""
    paths = [checkpoint.resolve() for checkpoint in checkpoints]
    if len(set(paths)) < len(paths):
        raise EvalError("a checkpoint is named twice; name every checkpoint once")
    short = [path.name for path in paths]
    if len(set(short)) == len(short):
        return short
    shared = Path(*_common([path.parts for path in paths]))
    return [path.relative_to(shared).as_posix() for path in paths]


def _common(parts: Sequence[Sequence[str]]) -> list[str]:
    """What all paths begin with."""
    found = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        found.append(level[0])
    return found
