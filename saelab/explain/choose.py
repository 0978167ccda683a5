"""The rule that says best when a feature fires: chosen on half A of the documents, measured on half B.

With t a threshold, "fires" means above t, and over the tokens of one half

    precision = fires and rule says yes / rule says yes        recall = fires and rule says yes / fires
    F1        = 2 * fires and rule says yes / (fires + rule says yes)
    trivial   = 2d / (1 + d), the F1 of always saying yes, where a share d of the tokens fires

A rule is chosen by (F1 - trivial) / (1 - trivial), less PRICE for each step the threshold is above zero and for each
further token that it names: among rules that do almost equally well the plainer one is the better description. A high
threshold leaves much of a feature undescribed: `covers` is the share of its summed activation that lies above.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from saelab.explain.families import Family
from saelab.features.firing import Firing

SHARES = (0.0, 0.1, 0.2, 0.3, 0.5)  # of the feature's maximum in half A: the thresholds that are tried
PRICE = 0.01


@dataclass(frozen=True, eq=False)
class Rule:
    """The best rule of one feature on half A."""

    family: Family
    keys: tuple[int, ...]
    share: float
    threshold: float
    f1: float


@dataclass(frozen=True)
class Measured:
    """What a rule does on half B."""

    covers: float
    fires: int
    says: int
    both: int
    trivial: float

    @property
    def precision(self) -> float:
        return self.both / max(1, self.says)

    @property
    def recall(self) -> float:
        return self.both / max(1, self.fires)

    @property
    def f1(self) -> float:
        return 2 * self.both / max(1, self.fires + self.says)


def choose(firing: Firing, families: Sequence[Family], tokens: int, least: int, other: Firing) -> Rule | None:
    """The best rule for `firing`, which is of half A's `tokens` tokens.

    A threshold is a candidate when at least `least` tokens are above it in either half; nothing else is read off the
    `other` half. None when there is no such threshold, or no rule does better than always saying yes.
    """
    if len(firing.rows) < least:
        return None
    thresholds = np.array(SHARES) * float(firing.acts.max())
    bins = np.searchsorted(thresholds, firing.acts, side="left") - 1  # thresholds[bin] < act <= thresholds[bin + 1]
    fires = _at_least(np.bincount(bins, minlength=len(SHARES)).astype(np.float64))
    in_other = (other.acts[:, None] > thresholds).sum(axis=0)
    enough = np.flatnonzero((fires >= least) & (in_other >= least)).tolist()
    trivial = 2 * fires / (fires + tokens)
    best, found = 0.0, None
    for family in families:
        known, table = family.table(firing.rows, bins, len(SHARES))
        if not len(known):
            continue
        both, says = _at_least(table), family.totals[0, known]
        for j in enough:
            keys, f1 = _grow(both[:, j], says, float(fires[j]), family.most)
            named = len(keys) * family.names
            score = (f1 - trivial[j]) / max(1e-9, 1 - trivial[j]) - PRICE * (j + named - 1)
            if score > best:
                best = score
                found = Rule(family, tuple(known[keys].tolist()), SHARES[j], float(thresholds[j]), f1)
    return found


def _at_least(counts: np.ndarray) -> np.ndarray:
    """Counts by bin to counts above each bin's threshold, along the last axis."""
    return np.flip(np.flip(counts, -1).cumsum(-1), -1)


def _grow(both: np.ndarray, says: np.ndarray, fires: float, most: int) -> tuple[list[int], float]:
    """Up to `most` keys, each the one that raises F1 most, as long as it pays its price."""
    keys: list[int] = []
    f1, true, yes = 0.0, 0.0, 0.0
    left = np.ones(len(both), dtype=bool)
    while len(keys) < most:
        with_each = np.where(left, 2 * (true + both) / (fires + yes + says), 0.0)
        key = int(with_each.argmax())
        if with_each[key] <= f1 + PRICE * bool(keys):
            break
        keys.append(key)
        left[key] = False
        f1, true, yes = float(with_each[key]), true + both[key], yes + says[key]
    return keys, f1


def measure(rule: Rule, firing: Firing, tokens: int) -> Measured:
    """The rule on `firing`, which is of half B's `tokens` tokens."""
    above = firing.acts > rule.threshold
    rows = firing.rows[above]
    covers = float(firing.acts[above].sum() / max(1e-30, firing.acts.sum()))
    known, table = rule.family.table(rows, np.zeros(len(rows), np.int64), 1)
    both = int(table[np.isin(known, rule.keys)].sum())
    says = int(rule.family.totals[1, list(rule.keys)].sum())
    return Measured(covers, len(rows), says, both, 2 * len(rows) / max(1, len(rows) + tokens))
