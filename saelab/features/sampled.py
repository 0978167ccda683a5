"""Examples that the index does not keep, drawn from every activation when somebody asks: by interval, and silent ones.

    interval i of n   max * i / n < activation <= max * (i + 1) / n       equally wide, whatever they hold
    silent            tokens around which, as far as is shown, the feature is zero

Which ones are drawn depends on the feature's number only. Of one context at most one is shown.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from saelab.features.firing import Firing, of
from saelab.features.generation import Generation
from saelab.features.records import Example
from saelab.features.tokenquery import require_store
from saelab.store import Store

TRIED = 400  # tokens looked at to find silent ones


@dataclass(frozen=True)
class Interval:
    """Activations with low < activation <= high: how many tokens, which share of the feature's, and some of them."""

    low: float
    high: float
    count: int
    share: float
    examples: tuple[Example, ...]


@dataclass(frozen=True, eq=False)
class Rows:
    """What the store knows of every row but its activations, and the names of the documents."""

    token: Int[np.ndarray, "rows"]
    doc: Int[np.ndarray, "rows"]
    pos: Int[np.ndarray, "rows"]
    ctx: Int[np.ndarray, "rows"]
    names: dict[int, str]

    @classmethod
    def read(cls, now: Generation, store: Store) -> "Rows":
        """Of the rows that the index was made from. Raises StoreMismatch when they are another store's."""
        require_store(now, store)
        split = str(now.facts["settings"]["split"])
        names = ("token", "doc", "pos", "ctx")
        table = store.columns(names, split)
        token, doc, pos, ctx = (table[name].to_numpy() for name in names)
        return cls(token, doc, pos, ctx, store.documents(split))


def intervals(now: Generation, rows: Rows, feature: int, n: int = 5, each: int = 5) -> tuple[Interval, ...]:
    """The `n` intervals from zero to the feature's maximum, strongest first, with up to `each` examples of each."""
    firing = of(now, feature)
    if not len(firing.rows):
        return ()
    top = float(firing.acts.max())
    edges = top * np.arange(n + 1) / n
    edges[-1] = top  # not a rounding below it
    place = (np.searchsorted(edges, firing.acts, side="left") - 1).clip(0, n - 1)
    random = np.random.default_rng(feature)
    found = []
    for i in reversed(range(n)):
        here = firing.rows[place == i]
        drawn = _one_per_context(random.permutation(here), rows, each)
        shown = tuple(_example(now, rows, firing, row) for row in drawn)
        found.append(Interval(float(edges[i]), float(edges[i + 1]), len(here), len(here) / len(firing.rows), shown))
    return tuple(found)


def silent(now: Generation, rows: Rows, feature: int, n: int = 10) -> tuple[Example, ...]:
    """Up to `n` random places where the feature does not fire on any token that is shown; fewer for a dense feature."""
    firing = of(now, feature)
    random = np.random.default_rng(feature)
    tried = random.permutation(len(rows.token))[:TRIED]
    drawn: list[int] = []
    fires = np.sort(firing.rows)
    for row in _one_per_context(tried, rows, TRIED):
        start, stop = _window(now, rows, row)
        if np.searchsorted(fires, start) == np.searchsorted(fires, stop):
            drawn.append(row)
        if len(drawn) == n:
            break
    return tuple(_example(now, rows, firing, row) for row in drawn)


def _one_per_context(drawn: np.ndarray, rows: Rows, most: int) -> list[int]:
    found: dict[int, int] = {}
    for row in drawn.tolist():
        found.setdefault(int(rows.ctx[row]), row)
        if len(found) == most:
            break
    return list(found.values())


def _window(now: Generation, rows: Rows, row: int) -> tuple[int, int]:
    """The rows that an example of `row` shows: as many as the index's own examples, and none of another context."""
    kept = now.facts["settings"]
    start, stop = max(0, row - kept["before"]), min(len(rows.ctx), row + kept["after"] + 1)
    same = np.flatnonzero(rows.ctx[start:stop] == rows.ctx[row])
    return start + int(same[0]), start + int(same[-1]) + 1


def _example(now: Generation, rows: Rows, firing: Firing, row: int) -> Example:
    start, stop = _window(now, rows, row)
    here = (firing.rows >= start) & (firing.rows < stop)
    acts = np.zeros(stop - start)
    acts[firing.rows[here] - start] = firing.acts[here]
    ids = tuple(rows.token[start:stop].tolist())
    doc = int(rows.doc[row])
    return Example(
        document=rows.names.get(doc, ""),
        doc=doc,
        pos=int(rows.pos[row]),
        row=int(row),
        rank=-1,
        quantile=-1,
        ids=ids,
        tokens=now.vocabulary.strings(ids),
        activations=tuple(acts.tolist()),
        peak=int(row) - start,
    )
