"""SCR, spurious correlation removal: can a few features be cut out of a probe's view, and nothing else?

A biased probe is fitted where two attributes always agree (A and B against neither), so that it reads both. It is then
measured on A where B is independent of it, before and after the n features of the largest effect on B are taken out of
the rows:

    effect_j = |(mean_B f_j - mean_not-B f_j) (W_dec[j] . w_B)|        w_B: a probe for B on balanced rows
    x'       = x - sum_j f_j W_dec[j]
    SCR      = (accuracy after - before) / (accuracy of a probe for A on balanced rows - before)

1: the probe is as good as one that never saw the spurious attribute; 0: nothing was gained; below 0: harm was done.
Both directions are tried (A read, B cut; B read, A cut); reported is the one in which the biased probe begins worse, as
SAEBench does. Attributes are of Python's syntax, token by token. Where the room to gain is under 0.001 the score is 0.
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
from saelab.evals.probes import Probe, fit
from saelab.evals.sample import Sample, ablated, difference, require_autoencoder, strongest, syntax_samples
from saelab.evals.subject import Figure, Subject

NEEDS = ("model", "python")
SOURCE = "Karvonen et al. 2024 (SHIFT, TPP) and 2025, SAEBench (scr)"
NS = (2, 5, 10, 20, 50, 100, 500)
METRICS = {
    **{f"scr_n{n}": f"mean over pairs of attributes of SCR with {n} features taken out" for n in NS},
    **{f"scr_n{n}_random": f"the same, {n} features that fire taken out at random" for n in NS},
    "accuracy_biased": "mean accuracy of the biased probe where the spurious attribute is independent",
    "accuracy_clean": "mean accuracy of a probe that never saw the bias",
}
LEAST_ROOM = 0.001


@dataclass(frozen=True)
class Attribute:
    """Rows that carry `yes` against rows that carry `no`; no `no`: all others."""

    yes: str
    no: str | None = None

    def of(self, sample: Sample) -> tuple[Bool[np.ndarray, "rows"], Bool[np.ndarray, "rows"]]:
        """(which rows are one, which are the other)."""
        yes = sample.label(self.yes)
        no = ~yes if self.no is None else sample.label(self.no) & ~yes
        return yes & (~sample.label(self.no) if self.no else True), no

    def __str__(self) -> str:
        return f"{self.yes} / {self.no or 'other'}"


PAIRS: tuple[tuple[Attribute, Attribute], ...] = (
    (Attribute("docstring", "comment"), Attribute("capital in prose", "prose")),
    (Attribute("called name", "attribute"), Attribute("in class")),
    (Attribute("comma", "dot"), Attribute("call arguments")),
    (Attribute("opening bracket", "closing bracket"), Attribute("in loop")),
    (Attribute("builtin", "snake case name"), Attribute("if condition")),
    (Attribute("one-letter name", "snake case name"), Attribute("in method")),
    (Attribute("string", "number"), Attribute("depth 0")),
    (Attribute("keyword", "operator"), Attribute("in try")),
)


class Config(Settings):
    tokens: int = Field(40_000, gt=0, description="Held-out tokens to label, both halves together.")
    per_document: int = Field(2_048, gt=0, description="Tokens of one document, at most, spread evenly over it.")
    least: int = Field(30, gt=0, description="Tokens of each of the four combinations, in each half.")
    most: int = Field(400, gt=0, description="Tokens drawn of each.")
    l2: float = Field(1e-3, ge=0, description="Weight of |w|^2 / 2 of the standardised probe.")
    seed: int = Field(0, description="Of the rows drawn and of the features taken out at random.")


@dataclass(frozen=True)
class PairScore:
    """One pair of attributes, in the direction in which the biased probe begins worse."""

    target: str
    spurious: str
    biased: float
    clean: float
    after: dict[int, float]
    scr: dict[int, float]
    scr_random: dict[int, float]
    features: tuple[int, ...]  # the first of those taken out
    n: int


@dataclass(frozen=True)
class Result:
    """Every pair that has rows enough."""

    seed: int
    pairs: tuple[PairScore, ...]

    def figures(self) -> list[Figure]:
        """One row per metric; n counts pairs."""
        values = {
            **{f"scr_n{n}": mean(pair.scr[n] for pair in self.pairs) for n in NS},
            **{f"scr_n{n}_random": mean(pair.scr_random[n] for pair in self.pairs) for n in NS},
            "accuracy_biased": mean(pair.biased for pair in self.pairs),
            "accuracy_clean": mean(pair.clean for pair in self.pairs),
        }
        return [Figure(name, values[name], len(self.pairs), self.seed) for name in METRICS]

    def table(self) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Column names and one row per pair."""
        columns = ("read", "cut", "biased", "clean", *(f"n={n}" for n in NS), "random n=20", "rows")
        return columns, [
            (p.target, p.spurious, p.biased, p.clean, *p.scr.values(), p.scr_random[20], p.n) for p in self.pairs
        ]

    def summary(self) -> list[str]:
        """The lines to read when there is time for no more."""
        best = max(NS, key=lambda n: mean(pair.scr[n] for pair in self.pairs))
        score, chance = (mean(getattr(p, name)[best] for p in self.pairs) for name in ("scr", "scr_random"))
        return [f"SCR {score:.3f} with {best} features taken out; {chance:.3f} with as many at random"]

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return asdict(self)


def run(subject: Subject, cfg: Config, progress: Progress | None = None) -> Result:
    """Cut attributes of syntax out of the subject's site, feature by feature."""
    progress = progress or Silent()
    require_autoencoder(subject, "scr")
    a, b = syntax_samples(subject, cfg.tokens, cfg.per_document, progress)
    W_dec = subject.sae.W_dec.detach().float().cpu().numpy()
    return scored(a, b, W_dec, PAIRS, cfg, progress)


def scored(
    a: Sample, b: Sample, W_dec: Float[np.ndarray, "d_sae d"], pairs: Sequence[tuple[Attribute, Attribute]],
    cfg: Config, progress: Progress,
) -> Result:  # fmt: skip
    """The score of every pair with rows enough: fitted on `a`, measured on `b`. Raises EvalSkipped for none."""
    progress.start("spurious correlations", len(pairs), "pairs")
    found = []
    for number, (one, other) in enumerate(pairs):
        random = np.random.default_rng([cfg.seed, number])
        fitting, seen = (four(sample, one, other, cfg, random) for sample in (a, b))
        if fitting is not None and seen is not None:
            some_a, some_b = a.take(fitting.ravel()), b.take(seen.ravel())
            ways = [
                direction(some_a, some_b, W_dec, names, swap, cfg, random)
                for names, swap in (((one, other), False), ((other, one), True))
            ]
            found.append(min(ways, key=lambda way: way.biased))
        progress.advance(1)
    if not found:
        raise EvalSkipped(f"no pair of attributes has {cfg.least} tokens of each of its four combinations in each half")
    return Result(cfg.seed, tuple(found))


def four(
    sample: Sample, one: Attribute, other: Attribute, cfg: Config, random: np.random.Generator
) -> Int[np.ndarray, "four n"] | None:
    """As many rows of each combination: (yes, yes), (yes, no), (no, yes), (no, no); None where they are too few."""
    cells = [np.flatnonzero(p & q) for p in one.of(sample) for q in other.of(sample)]
    n = min(cfg.most, *(len(cell) for cell in cells))
    return np.stack([random.choice(cell, n, replace=False) for cell in cells]) if n >= cfg.least else None


def direction(
    a: Sample, b: Sample, W_dec: Float[np.ndarray, "d_sae d"], names: tuple[Attribute, Attribute], swap: bool,
    cfg: Config, random: np.random.Generator,
) -> PairScore:  # fmt: skip
    """SCR when the first attribute is read and the second cut; rows of a and b are four quarters, as `four` draws them.

    `swap`: the attribute that is read is the second of the quarters.
    """
    (read_a, cut_a), (read_b, _) = (_classes(len(sample.x), swap) for sample in (a, b))
    agree = read_a == cut_a
    biased, clean = fit(a.x[agree], read_a[agree], cfg.l2), fit(a.x, read_a, cfg.l2)
    spurious = fit(a.x, cut_a, cfg.l2)
    effects = np.abs(difference(a.f, cut_a) * (W_dec @ spurious.w))
    fires = random.permutation(np.flatnonzero(np.diff(a.f.tocsc().indptr)))
    before, best = biased.accuracy(b.x, read_b), clean.accuracy(b.x, read_b)
    after = {n: _after(biased, b, strongest(effects, n), W_dec, read_b) for n in NS}
    return PairScore(
        target=str(names[0]),
        spurious=str(names[1]),
        biased=before,
        clean=best,
        after=after,
        scr={n: score(before, value, best) for n, value in after.items()},
        scr_random={n: score(before, _after(biased, b, fires[:n], W_dec, read_b), best) for n in NS},
        features=tuple(strongest(effects, NS[0]).tolist()),
        n=len(b.x),
    )


def _classes(rows: int, swap: bool) -> tuple[Bool[np.ndarray, "rows"], Bool[np.ndarray, "rows"]]:
    """Which rows of four quarters are yes in the attribute that is read, and in the one that is cut."""
    quarter = np.arange(rows) * 4 // rows
    first, second = quarter < 2, quarter % 2 == 0
    return (second, first) if swap else (first, second)


def _after(
    probe: Probe, b: Sample, features: Int[np.ndarray, "n"], W_dec: Float[np.ndarray, "d_sae d"],
    y: Bool[np.ndarray, "rows"],
) -> float:  # fmt: skip
    return probe.accuracy(ablated(b, features, W_dec), y)


def score(before: float, after: float, clean: float) -> float:
    """(after - before) / (clean - before); 0 where there is no room to gain."""
    return (after - before) / (clean - before) if clean - before >= LEAST_ROOM else 0.0
