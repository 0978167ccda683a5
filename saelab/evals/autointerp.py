"""Autointerp: can someone who has read a feature's explanation say in which windows of text it fires?

Detection, without a language model as judge: explanations are rules (`saelab.explain`), chosen on half of the
documents, and the judge is mechanical: a window of 32 tokens fires if the rule says yes to one of them. On the other
half, for every feature, as many windows in which it fires (evenly over their maxima) as windows in which it does not:

    detection    mean over features of the balanced accuracy
    swapped      the same with every feature judged by another's explanation: chance is 0.5
    explained    share of the features that fire often enough which have a rule at all

A feature fires in a window where it exceeds the threshold its explanation names. A feature without a rule is left out
of `detection` and counts as 0.5 in `detection_all`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from pydantic import Field

from saelab.config import Settings
from saelab.contracts import Progress, Silent
from saelab.errors import EvalSkipped
from saelab.evals.subject import Explanation, Explanations, Figure, Subject

NEEDS = ("index", "model")
SOURCE = "Paulo et al. 2024, Automatically interpreting millions of features (delphi, detection); Bills et al. 2023"
METRICS = {
    "detection": "mean balanced accuracy of telling windows in which a feature fires by its rule, held-out documents",
    "swapped": "the same by the rule of another feature: chance is 0.5",
    "detection_all": "detection with 0.5 for every feature that has no rule",
    "explained": "share of the features that fire often enough which have a rule",
    "above_0.9": "share of the features with a rule whose detection is 0.9 or more",
}


class Config(Settings):
    tokens: int = Field(200_000, gt=0, description="Rows of the index's split to read, both halves together.")
    features: int = Field(400, gt=0, description="Features to explain, drawn at random where there are more.")
    windows: int = Field(50, gt=0, description="Windows of each kind to judge, at most.")
    least: int = Field(10, gt=0, description="Windows in which a feature must fire.")
    seed: int = Field(0, description="Of the features, the windows and the swaps.")


@dataclass(frozen=True)
class Judged:
    """One feature's explanation and how well it detects; `swapped`: by another feature's."""

    feature: int
    explanation: str
    detection: float
    swapped: float
    windows: int


@dataclass(frozen=True)
class Result:
    """Features by falling detection."""

    seed: int
    asked: int
    judged: tuple[Judged, ...]

    def figures(self) -> list[Figure]:
        """One row per metric; n counts features."""
        found = [one.detection for one in self.judged]
        values = {
            "detection": mean(found),
            "swapped": mean(one.swapped for one in self.judged),
            "detection_all": (sum(found) + 0.5 * (self.asked - len(found))) / self.asked,
            "explained": len(found) / self.asked,
            "above_0.9": mean(one >= 0.9 for one in found),
        }
        n = {"detection_all": self.asked, "explained": self.asked}
        return [Figure(name, values[name], n.get(name, len(found)), self.seed) for name in METRICS]

    def table(self) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Column names and one row per feature."""
        columns = ("feature", "explanation", "detection", "swapped", "windows")
        return columns, [(o.feature, o.explanation, o.detection, o.swapped, o.windows) for o in self.judged]

    def summary(self) -> list[str]:
        """The lines to read when there is time for no more."""
        v = {figure.metric: figure.value for figure in self.figures()}
        return [
            f"detection {v['detection']:.3f} over {len(self.judged)} features with a rule, {v['swapped']:.3f} with "
            f"rules swapped; {v['explained']:.0%} of {self.asked} features have a rule"
        ]

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return asdict(self)


def run(subject: Subject, cfg: Config, progress: Progress | None = None) -> Result:
    """Judge the rules of the subject's features on documents they were not chosen on."""
    if subject.explain is None:
        raise EvalSkipped("needs the checkpoint's feature index")
    return judged(subject.explain(subject.lm, cfg.tokens, cfg.features, cfg.seed, progress or Silent()), cfg)


def judged(found: Explanations, cfg: Config) -> Result:
    """The detection scores of explanations. Raises EvalSkipped when none can be judged."""
    random = np.random.default_rng(cfg.seed)
    drawn = {one.feature: windows_of(one, found.window, cfg, random) for one in found.explained}
    kept = [one for one in found.explained if drawn[one.feature] is not None]
    if not kept:
        raise EvalSkipped(f"no feature with a rule fires in {cfg.least} windows of the half that rules are judged on")
    says = [windows_where(one.says, found.window) for one in kept]
    other = _swaps(len(kept), random)
    rows = []
    for number, one in enumerate(kept):
        fires, silent = drawn[one.feature]  # type: ignore[misc]
        own, swapped = (balanced_accuracy(says[i], fires, silent) for i in (number, other[number]))
        rows.append(Judged(one.feature, one.words, own, swapped, len(fires) + len(silent)))
    unjudged = len(found.explained) - len(kept)
    return Result(cfg.seed, found.asked - unjudged, tuple(sorted(rows, key=lambda row: -row.detection)))


def windows_of(
    one: Explanation, window: Int[np.ndarray, "rows"], cfg: Config, random: np.random.Generator
) -> tuple[Int[np.ndarray, "fires"], Int[np.ndarray, "silent"]] | None:
    """As many windows in which it fires, evenly over their maxima, as others; None where too few are of one kind."""
    highest = np.zeros(int(window.max()) + 1)
    np.maximum.at(highest, window[one.fires], one.acts)
    fires = np.flatnonzero(highest > 0)
    silent = np.setdiff1d(np.unique(window), fires)
    n = min(cfg.windows, len(fires), len(silent))
    if n < cfg.least:
        return None
    ranked = fires[np.argsort(highest[fires], kind="stable")]
    return ranked[np.linspace(0, len(ranked) - 1, n).round().astype(int)], random.choice(silent, n, replace=False)


def windows_where(rows: Int[np.ndarray, "some"], window: Int[np.ndarray, "rows"]) -> Bool[np.ndarray, "windows"]:
    """Which windows hold one of these rows."""
    found = np.zeros(int(window.max()) + 1, dtype=bool)
    found[window[rows]] = True
    return found


def balanced_accuracy(
    says: Bool[np.ndarray, "windows"], fires: Int[np.ndarray, "f"], silent: Int[np.ndarray, "s"]
) -> float:
    return float((says[fires].mean() + (~says[silent]).mean()) / 2)


def _swaps(n: int, random: np.random.Generator) -> Sequence[int]:
    """For each of n another one: a cycle through all in random order."""
    order = random.permutation(n)
    following = np.empty(n, dtype=int)
    following[order] = np.roll(order, -1)
    return following.tolist()
