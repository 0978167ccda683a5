"""TPP, targeted probe perturbation: does taking out a class' features hurt its probe, and no other's?

For every class c a probe tells it from the others. The n features of the largest effect on c are taken out of the rows,

    effect_j = max(0, mean_c f_j - mean_not-c f_j) (W_dec[j] . w_c)
    TPP      = mean over c of (drop of c's accuracy - mean over the other classes of the drop of theirs)

0: nothing or everything falls; 0.5 is the most with classes of equal weight. Classes are of Python's syntax.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import Field

from saelab.config import Settings
from saelab.contracts import Progress, Silent
from saelab.errors import EvalSkipped
from saelab.evals.probes import Probe, balanced, fit
from saelab.evals.sample import Sample, ablated, difference, require_autoencoder, strongest, syntax_samples
from saelab.evals.subject import Figure, Subject

NEEDS = ("model", "python")
SOURCE = "Karvonen et al. 2024 (SHIFT, TPP) and 2025, SAEBench (tpp)"
NS = (2, 5, 10, 20, 50, 100, 500)
METRICS = {
    **{
        f"tpp_n{n}": f"mean over classes of the drop of its own accuracy less that of others', {n} features out"
        for n in NS
    },
    **{f"tpp_n{n}_random": f"the same, {n} features that fire taken out at random" for n in NS},
    "accuracy": "mean accuracy of the probes before",
}
CLASSES = (
    "keyword",
    "builtin",
    "self",
    "comma",
    "number",
    "string",
    "prose",
    "comment sign",
    "line break",
    "parameter",
)


class Config(Settings):
    tokens: int = Field(40_000, gt=0, description="Held-out tokens to label, both halves together.")
    per_document: int = Field(2_048, gt=0, description="Tokens of one document, at most, spread evenly over it.")
    least: int = Field(50, gt=0, description="Tokens of a class, in each half.")
    most: int = Field(400, gt=0, description="Tokens drawn of each class.")
    l2: float = Field(1e-3, ge=0, description="Weight of |w|^2 / 2 of the standardised probe.")
    seed: int = Field(0, description="Of the rows drawn and of the features taken out at random.")


@dataclass(frozen=True)
class ClassScore:
    """One class: what its own probe loses, and what the others' lose on average, by features taken out."""

    label: str
    accuracy: float
    own: dict[int, float]
    others: dict[int, float]
    own_random: dict[int, float]
    others_random: dict[int, float]
    features: tuple[int, ...]

    def tpp(self, n: int) -> float:
        return self.own[n] - self.others[n]

    def tpp_random(self, n: int) -> float:
        return self.own_random[n] - self.others_random[n]


@dataclass(frozen=True)
class Result:
    """Every class that has rows enough."""

    seed: int
    classes: tuple[ClassScore, ...]

    def figures(self) -> list[Figure]:
        """One row per metric; n counts classes."""
        values = {
            **{f"tpp_n{n}": mean(one.tpp(n) for one in self.classes) for n in NS},
            **{f"tpp_n{n}_random": mean(one.tpp_random(n) for one in self.classes) for n in NS},
            "accuracy": mean(one.accuracy for one in self.classes),
        }
        return [Figure(name, values[name], len(self.classes), self.seed) for name in METRICS]

    def table(self) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Column names and one row per class."""
        columns = ("class", "accuracy", *(f"n={n}" for n in NS), "random n=20")
        return columns, [(c.label, c.accuracy, *map(c.tpp, NS), c.tpp_random(20)) for c in self.classes]

    def summary(self) -> list[str]:
        """The lines to read when there is time for no more."""
        best = max(NS, key=lambda n: mean(one.tpp(n) for one in self.classes))
        score, chance = mean(c.tpp(best) for c in self.classes), mean(c.tpp_random(best) for c in self.classes)
        return [f"TPP {score:.3f} with {best} features taken out; {chance:.3f} with as many at random"]

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return asdict(self)


def run(subject: Subject, cfg: Config, progress: Progress | None = None) -> Result:
    """Take classes of syntax out of the subject's site, feature by feature."""
    progress = progress or Silent()
    require_autoencoder(subject, "tpp")
    a, b = syntax_samples(subject, cfg.tokens, cfg.per_document, progress)
    return scored(a, b, subject.sae.W_dec.detach().float().cpu().numpy(), CLASSES, cfg, progress)


def scored(
    a: Sample, b: Sample, W_dec: Float[np.ndarray, "d_sae d"], classes: Sequence[str], cfg: Config, progress: Progress
) -> Result:
    """The score of every class with rows enough: fitted on `a`, measured on `b`. Raises EvalSkipped for under two."""
    random = np.random.default_rng(cfg.seed)
    owners = [owner(sample, classes) for sample in (a, b)]
    kept = [c for c in range(len(classes)) if all((of == c).sum() >= cfg.least for of in owners)]
    if len(kept) < 2:
        raise EvalSkipped(f"fewer than two of the classes have {cfg.least} tokens in each half")
    (a, of_a), (b, of_b) = (_drawn(s, of, kept, cfg, random) for s, of in zip((a, b), owners, strict=True))
    fitting = {c: balanced(of_a == c, cfg.most, random) for c in kept}
    measuring = {c: balanced(of_b == c, cfg.most, random) for c in kept}
    probes = {c: fit(a.x[rows], of_a[rows] == c, cfg.l2) for c, rows in fitting.items()}
    view = _View(b, of_b, measuring, probes, W_dec)
    before = view.accuracies(b.x)
    progress.start("targeted perturbations", len(kept), "classes")
    found = []
    for c in kept:
        rows = fitting[c]
        effects = np.clip(difference(a.f[rows], of_a[rows] == c), 0, None) * (W_dec @ probes[c].w)
        fires = random.permutation(np.flatnonzero(np.diff(a.f.tocsc().indptr)))
        chosen, chance = (
            {n: view.drops(c, each(n), before) for n in NS}
            for each in (lambda n, e=effects: strongest(e, n), lambda n, o=fires: o[:n])
        )
        found.append(
            ClassScore(
                classes[c], before[c],
                {n: drop[0] for n, drop in chosen.items()}, {n: drop[1] for n, drop in chosen.items()},
                {n: drop[0] for n, drop in chance.items()}, {n: drop[1] for n, drop in chance.items()},
                tuple(strongest(effects, NS[0]).tolist()),
            )
        )  # fmt: skip
        progress.advance(1)
    return Result(cfg.seed, tuple(found))


def owner(sample: Sample, classes: Sequence[str]) -> Int[np.ndarray, "rows"]:
    """The one class of each row; -1 for rows of none or of several."""
    marks = np.stack([sample.label(name) for name in classes])
    return np.where(marks.sum(axis=0) == 1, marks.argmax(axis=0), -1)


def _drawn(
    sample: Sample, of: Int[np.ndarray, "rows"], kept: Sequence[int], cfg: Config, random: np.random.Generator
) -> tuple[Sample, Int[np.ndarray, "drawn"]]:
    """As many rows of each class, so that the others weigh equally in a class' probe."""
    n = min(cfg.most, *(int((of == c).sum()) for c in kept))
    rows = np.concatenate([random.choice(np.flatnonzero(of == c), n, replace=False) for c in kept])
    return sample.take(rows), of[rows]


@dataclass(frozen=True, eq=False)
class _View:
    """What every class' probe sees of the rows to measure on."""

    sample: Sample
    of: Int[np.ndarray, "rows"]
    rows: dict[int, Int[np.ndarray, "some"]]
    probes: dict[int, Probe]
    W_dec: Float[np.ndarray, "d_sae d"]

    def accuracies(self, x: Float[np.ndarray, "rows d"]) -> dict[int, float]:
        return {c: probe.accuracy(x[self.rows[c]], self._is(c)) for c, probe in self.probes.items()}

    def _is(self, c: int) -> Bool[np.ndarray, "some"]:
        return self.of[self.rows[c]] == c

    def drops(self, c: int, features: Int[np.ndarray, "n"], before: dict[int, float]) -> tuple[float, float]:
        """(what the probe of c loses, what the others lose on average) without these features."""
        after = self.accuracies(ablated(self.sample, features, self.W_dec))
        return before[c] - after[c], mean(before[other] - after[other] for other in before if other != c)
