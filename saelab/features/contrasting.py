"""Which features fire more in one set of texts than in another.

A text counts once, whatever its length: by whether a feature fires in it, and by the feature's maximum over its tokens.

    difference  share of texts of A in which it fires, less that of B
    AUC         chance that a text of A has the higher maximum than a text of B, ties counting half: 1/2 is no effect
    p           of the two-sided Mann-Whitney test of the maxima: over every way to deal the texts to both sets where
                these are at most EXACT, else by the normal approximation with ties and continuity corrected
    q           Benjamini-Hochberg over all features that fire in at least one text: calling everything up to q a
                difference, the expected share of false calls is at most q

Mann and Whitney 1947; Benjamini and Hochberg 1995, procedure (1).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy import stats

from saelab.contracts import Progress, Silent
from saelab.errors import CorpusError, FeatureIndexError
from saelab.features.fires import TextActivations, fires_on
from saelab.features.index import Index
from saelab.features.records import Label
from saelab.lm import LanguageModel
from saelab.sae import SAE

EXACT = 20_000  # ways to deal the texts
AT_ONCE = 256  # features whose texts x features table is in memory
MOST_TEXTS = 2_000  # of both sets
ORDERS: dict[str, Callable[["Contrasted"], float]] = {
    "q": lambda one: one.q,
    "effect": lambda one: -abs(one.auc - 0.5),
    "difference": lambda one: -abs(one.difference),
}


@dataclass(frozen=True)
class Contrasted:
    """One feature: its share of texts and mean maximum in each set, effect sizes, and how sure they are.

    `best_a` and `best_b` number the text of each set with its highest maximum, None where it fires in none.
    """

    feature: int
    rate_a: float
    rate_b: float
    mean_a: float
    mean_b: float
    auc: float
    p: float
    q: float
    best_a: int | None
    best_b: int | None
    label: Label | None

    @property
    def difference(self) -> float:
        return self.rate_a - self.rate_b

    @property
    def rank_biserial(self) -> float:
        """2 AUC - 1: from -1, all of B above all of A, to 1."""
        return 2 * self.auc - 1


@dataclass(frozen=True)
class Contrast:
    """Every feature that fires in a text of either set, by falling certainty; and the texts as the SAE sees them."""

    a: tuple[TextActivations, ...]
    b: tuple[TextActivations, ...]
    features: tuple[Contrasted, ...]
    exact: bool

    def ranking(self, by: str = "q", limit: int | None = None) -> tuple[Contrasted, ...]:
        """By `q`, `effect` (AUC) or `difference`; equals by effect, then by number."""
        if by not in ORDERS:
            raise FeatureIndexError(f"a contrast cannot be ranked by {by!r}. Rank by one of: {', '.join(ORDERS)}.")
        ranked = sorted(self.features, key=lambda one: (ORDERS[by](one), ORDERS["effect"](one), one.feature))
        return tuple(ranked[:limit])

    @property
    def least_p(self) -> float:
        """The smallest p that so many texts can give, when every way to deal them is counted."""
        a, b = len(self.a), len(self.b)
        return (1 + (a == b)) / comb(a + b, a)

    def significant(self, q: float = 0.05) -> int:
        """Features with a q value up to `q`."""
        return sum(one.q <= q for one in self.features)


def read_texts(path: Path, by: str) -> list[str]:
    """The texts in a file. Raises CorpusError when it is not UTF-8."""
    try:
        return split_texts(path.read_text(encoding="utf-8-sig"), by)
    except (UnicodeDecodeError, OSError) as error:
        raise CorpusError(f"{path} cannot be read as UTF-8 text: {error}") from None


def split_texts(text: str, by: str) -> list[str]:
    """The texts in a pasted or read one: each `line`, each `paragraph` (between empty lines), or the `whole`."""
    pieces = {"line": text.splitlines(), "paragraph": text.replace("\r\n", "\n").split("\n\n"), "whole": [text]}[by]
    return [piece for piece in pieces if piece.strip()]


def contrast(
    lm: LanguageModel,
    sae: SAE,
    a: Sequence[str],
    b: Sequence[str],
    index: Index | None = None,
    progress: Progress | None = None,
) -> Contrast:
    """Run both sets through model and SAE and compare them. Raises CorpusError for fewer than two texts in either."""
    progress = progress or Silent()
    for name, texts in (("A", a), ("B", b)):
        if len(texts) < 2:
            raise CorpusError(f"set {name} has {len(texts)} text(s): a contrast needs two or more of each.")
    if len(a) + len(b) > MOST_TEXTS:
        raise CorpusError(f"{len(a):,} and {len(b):,} texts are more than {MOST_TEXTS:,}: take fewer, or longer ones.")
    progress.start("texts", len(a) + len(b), "texts")
    seen = []
    for text in [*a, *b]:
        seen.append(fires_on(lm, sae, text, index=index))
        progress.advance(1)
    return compared(tuple(seen[: len(a)]), tuple(seen[len(a) :]), index.labels if index else {})


def compared(a: tuple[TextActivations, ...], b: tuple[TextActivations, ...], labels: dict[int, Label]) -> Contrast:
    """Both sets compared, feature by feature."""
    maxima: dict[int, list[tuple[int, float]]] = {}
    for number, text in enumerate([*a, *b]):
        for one in text.firing:
            maxima.setdefault(one.feature, []).append((number, one.max))
    features = sorted(maxima)
    exact = comb(len(a) + len(b), len(a)) <= EXACT
    tables = [
        _table([maxima[feature] for feature in features[first : first + AT_ONCE]], len(a) + len(b))
        for first in range(0, len(features), AT_ONCE)
    ]
    found = [_test(table, len(a), exact) for table in tables]
    p = np.concatenate([p for _, p in found]) if found else np.zeros(0)
    q = stats.false_discovery_control(p) if len(p) else p
    auc = np.concatenate([auc for auc, _ in found]) if found else p
    columns = (column for table in tables for column in table.T)
    rows = [
        _row(feature, column, len(a), (float(auc[i]), float(p[i]), float(q[i])), labels.get(feature))
        for i, (feature, column) in enumerate(zip(features, columns, strict=True))
    ]
    return Contrast(a, b, tuple(rows), exact)


def _table(maxima: list[list[tuple[int, float]]], texts: int) -> Float[np.ndarray, "texts features"]:
    table = np.zeros((texts, len(maxima)))
    for i, found in enumerate(maxima):
        for text, value in found:
            table[text, i] = value
    return table


def _test(table: Float[np.ndarray, "texts features"], n: int, exact: bool) -> tuple[np.ndarray, np.ndarray]:
    """(AUC, two-sided p) of each feature, the first `n` texts against the others."""
    ranks = stats.rankdata(table, axis=0)
    m = len(table) - n
    lowest = n * (n + 1) / 2
    auc = (ranks[:n].sum(axis=0) - lowest) / (n * m)
    if exact:
        return auc, _exact(ranks, n, lowest)
    return auc, stats.mannwhitneyu(table[:n], table[n:], axis=0, method="asymptotic").pvalue


def _exact(ranks: Float[np.ndarray, "texts features"], n: int, lowest: float) -> np.ndarray:
    """The share of all ways to choose n texts whose rank sum is at least as far from its mean as the one seen."""
    chosen = np.array(list(combinations(range(len(ranks)), n)))
    dealt = np.zeros((len(chosen), len(ranks)))
    np.put_along_axis(dealt, chosen, 1.0, axis=1)
    middle = lowest + n * (len(ranks) - n) / 2
    seen = np.abs(ranks[:n].sum(axis=0) - middle)
    return (np.abs(dealt @ ranks - middle) >= seen - 1e-9).mean(axis=0)


def _row(feature: int, column: np.ndarray, n: int, test: tuple[float, float, float], label: Label | None) -> Contrasted:
    a, b = column[:n], column[n:]
    auc, p, q = test
    return Contrasted(
        feature=feature,
        rate_a=float((a > 0).mean()),
        rate_b=float((b > 0).mean()),
        mean_a=float(a.mean()),
        mean_b=float(b.mean()),
        auc=auc,
        p=p,
        q=q,
        best_a=int(a.argmax()) if a.any() else None,
        best_b=int(b.argmax()) if b.any() else None,
        label=label,
    )
