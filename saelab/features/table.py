"""The table of all features: filtered, sorted, a page at a time."""

from dataclasses import dataclass
from typing import Any

import duckdb

from saelab.errors import FeatureIndexError
from saelab.features.records import FeatureRow, FeatureTable, Label
from saelab.features.where import Where

NUMBERS = ("feature", "count", "contexts", "density", "max", "mean", "std")
_KNOWN = "memory.main.known"
ORDERS = (*NUMBERS, "cosine", "encoder_norm", "decoder_norm", "b_enc", "threshold", "label", "f1")


@dataclass(frozen=True)
class FeatureFilter:
    """Which features to show; None asks nothing. Densities and (maximal) activations are bounds that still pass.

    `label` keeps features whose label contains this text, whatever its case; `min_f1` those whose automatic label was
    measured and has at least this F1 on held-out documents; `alive` those that fire, or that do not.
    """

    min_density: float | None = None
    max_density: float | None = None
    min_activation: float | None = None
    max_activation: float | None = None
    label: str | None = None
    min_f1: float | None = None
    alive: bool | None = None

    def conditions(self) -> list[tuple[str, tuple[Any, ...]]]:
        """Each condition asked for, as SQL with one place to bind and its value."""
        asked = [
            ("density >= ?", self.min_density),
            ("density <= ?", self.max_density),
            ("max >= ?", self.min_activation),
            ("max <= ?", self.max_activation),
            ("contains(lower(label), lower(?))", self.label),
            ("f1 >= ?", self.min_f1),
            ("(count > 0) = ?", self.alive),
        ]
        return [(condition, (value,)) for condition, value in asked if value is not None]


def table(
    cursor: duckdb.DuckDBPyConnection,
    labels: dict[int, Label],
    *,
    order: str,
    descending: bool,
    where: FeatureFilter | Where,
    limit: int | None,
    offset: int,
) -> FeatureTable:
    """The features that pass `where`, sorted by `order`, equals by number; those without a value come last.

    `cursor` sees features and labels as one table (`Generation.labelled`).
    """
    if order not in ORDERS:
        raise FeatureIndexError(f"features cannot be sorted by {order!r}. Sort by one of: {', '.join(ORDERS)}.")
    asked = where.conditions()
    condition = " and ".join(text for text, _ in asked) or "true"
    values = [value for _, bound in asked for value in bound]
    total = cursor.execute(f"select count(*) from {_KNOWN} where {condition}", values).fetchone()
    rows = cursor.execute(
        f"select feature, count, density, max, mean, cosine, f1 from {_KNOWN} where {condition} "
        f'order by "{order}" {"desc" if descending else "asc"} nulls last, feature limit ? offset ?',
        [*values, limit, offset],
    ).fetchall()
    found = tuple(
        FeatureRow(f, count, density, top, mean, cosine, labels.get(f), f1)
        for f, count, density, top, mean, cosine, f1 in rows
    )
    return FeatureTable(found, total[0] if total else 0, offset)
