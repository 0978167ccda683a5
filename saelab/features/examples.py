"""Where a feature fires: its strongest contexts, and a sample from every strength."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import duckdb

from saelab.features.records import Example
from saelab.features.vocabulary import Vocabulary

_COLUMNS = "document, doc, pos, row, rank, quantile, tokens, peak, fired, acts, sampled"
_RANK = _COLUMNS.split(", ").index("rank")


def examples(
    cursor: duckdb.DuckDBPyConnection, vocabulary: Vocabulary, feature: int, top: int, quantiles: int
) -> tuple[tuple[Example, ...], tuple[tuple[Example, ...], ...]]:
    """The `top` strongest contexts, and those sampled from each of the quantiles, the weakest group first."""
    rows = cursor.execute(
        f"select {_COLUMNS} from examples where feature = ? and (sampled or rank < ?)",
        [feature, top],
    ).fetchall()
    found = [(_example(row, vocabulary), row[-1]) for row in sorted(rows, key=itemgetter(_RANK))]
    strongest = tuple(example for example, _ in found if example.rank < top)
    groups = [tuple(e for e, sampled in found if sampled and e.quantile == q) for q in range(quantiles)]
    return strongest, tuple(groups)


def _example(row: Sequence[Any], vocabulary: Vocabulary) -> Example:
    name, doc, pos, place, rank, quantile, ids, peak, fired, acts, _ = row
    activations = [0.0] * len(ids)
    for at, act in zip(fired, acts, strict=True):
        activations[at] = act
    tokens = vocabulary.strings(ids)
    return Example(name, doc, pos, place, rank, quantile, tuple(ids), tokens, tuple(activations), peak)
