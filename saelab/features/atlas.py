"""All features at once: what the charts of the atlas draw, and which features pass a filter."""

from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
from jaxtyping import Bool, Float, Int

from saelab.features.records import UNSAID
from saelab.features.where import Where, literal

SOURCE = "memory.main.known"  # see Generation.labelled
CLASSES = {
    "dead": "count = 0",
    "ultra-rare": "count > 0 and density < 0.00001",
    "dense": "density > 0.1",
}
CLASS_COLUMNS = ("count", "density")
COSINE_BINS = 40  # from -1 to 1
KINDS = {  # of labels (see `records.Label`), in the order in which they are shown, by name
    "token": "the token",
    "after": "the token before",
    "pair": "two tokens",
    "triple": "three tokens",
    "place": "its place",
    "syntax": "syntax",
    "own": "by hand",
    UNSAID: "unsaid",
}
NO_LABEL = "no label"


@dataclass(frozen=True)
class Share:
    """Of the features of one kind: the condition that names them, how many there are and how many pass the filter."""

    name: str
    condition: str
    all: int
    passing: int


@dataclass(frozen=True, eq=False)
class Atlas:
    """Every feature's numbers, feature i at place i; NaN where one has no value. `passes` is what the filter says."""

    density: Float[np.ndarray, "d_sae"]
    max: Float[np.ndarray, "d_sae"]
    pc1: Float[np.ndarray, "d_sae"]
    pc2: Float[np.ndarray, "d_sae"]
    passes: Bool[np.ndarray, "d_sae"]
    classes: tuple[Share, ...]
    cosines: tuple[Share, ...]
    groups: tuple[Share, ...]
    kinds: tuple[Share, ...]
    map_variance: tuple[float, float] | None

    def drawn(self, most: int) -> Int[np.ndarray, "drawn"]:
        """At most `most` features to draw as points: those that pass first, evenly thinned where there are too many."""
        inside, outside = np.flatnonzero(self.passes), np.flatnonzero(~self.passes)
        kept = _thinned(inside, most)
        return np.concatenate([_thinned(outside, most - len(kept)), kept])


def _thinned(places: Int[np.ndarray, "n"], most: int) -> Int[np.ndarray, "kept"]:
    if len(places) <= most:
        return places
    return places[np.linspace(0, len(places) - 1, max(0, most)).astype(np.int64)]


def atlas(cursor: duckdb.DuckDBPyConnection, where: Where, facts: dict[str, Any]) -> Atlas:
    """What the atlas shows under a filter."""
    passing = _Passing(cursor, where)
    variance = facts.get("map_variance")
    numbers = passing.columns("density", "max", "pc1", "pc2")
    cosine = f"least({COSINE_BINS} - 1, floor((cosine + 1) * {COSINE_BINS} / 2))::int"
    return Atlas(
        **numbers,
        classes=tuple(passing.share(name, text) for name, text in CLASSES.items()),
        cosines=tuple(_bin(place, *counts) for place, counts in passing.by(cosine, "cosine is not null")),
        groups=tuple(
            Share(f"group {group:.0f}", f"matryoshka_group = {group:.0f}", *counts)
            for group, counts in passing.by("matryoshka_group", "matryoshka_group is not null")
        ),
        kinds=_kinds(passing.by("kind", "true")),
        map_variance=(float(variance[0]), float(variance[1])) if variance else None,
    )


class _Passing:
    """Counts and columns under one filter."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, where: Where) -> None:
        asked = where.conditions()
        self._cursor = cursor
        self._condition = f"coalesce({' and '.join(sql for sql, _ in asked) or 'true'}, false)"
        self._values = [value for _, values in asked for value in values]

    def columns(self, *names: str) -> dict[str, Any]:
        """These columns of all features in order, as doubles, and `passes`."""
        listed = ", ".join(f'"{name}"::double as "{name}"' for name in names)
        query = f"select {listed}, {self._condition} as passes from {SOURCE} order by feature"
        found = self._cursor.execute(query, self._values).fetchnumpy()
        plain = {name: np.ma.filled(found[name], np.nan) for name in names}
        return {**plain, "passes": np.asarray(found["passes"], dtype=bool)}

    def share(self, name: str, text: str) -> Share:
        """All features that `text` names, and those that also pass."""
        named = Where.parse(text)
        sql = " and ".join(part for part, _ in named.conditions())
        bound = [value for _, values in named.conditions() for value in values]
        query = f"select count(*), count(*) filter ({self._condition}) from {SOURCE} where {sql}"
        row = self._cursor.execute(query, [*self._values, *bound]).fetchone()
        assert row is not None
        return Share(name, text, row[0], row[1])

    def by(self, what: str, condition: str) -> list[tuple[Any, tuple[int, int]]]:
        """Per value of an expression (all, passing), in order of the values."""
        query = (
            f"select {what} as value, count(*) as all_of, count(*) filter ({self._condition}) from {SOURCE} "
            f"where {condition} group by value order by value"
        )
        rows = self._cursor.execute(query, self._values).fetchall()
        return [(value, (all_of, passing)) for value, all_of, passing in rows]


def _bin(place: int, all_of: int, passing: int) -> Share:
    low, high = 2 * place / COSINE_BINS - 1, 2 * (place + 1) / COSINE_BINS - 1
    last = "<=" if place == COSINE_BINS - 1 else "<"
    return Share(f"{low:.2f} to {high:.2f}", f"cosine >= {low:.6g} and cosine {last} {high:.6g}", all_of, passing)


def _kinds(counts: list[tuple[str | None, tuple[int, int]]]) -> tuple[Share, ...]:
    """Features by the kind of their label, those of KINDS first, those without a label last; none without labels."""
    known = {kind: each for kind, each in counts if kind is not None}
    if not known:
        return ()
    some = [*(kind for kind in KINDS if kind in known), *(kind for kind in known if kind not in KINDS)]
    found = [Share(KINDS.get(kind, kind), f"kind = {literal(kind)}", *known[kind]) for kind in some]
    return (*found, *(Share(NO_LABEL, "kind is null", *each) for kind, each in counts if kind is None))
