"""Sparse probing: can a few features tell what a row is?

For each label a logistic probe on the k features (1, 2, 5) whose mean differs most between rows with it and without,
fitted on half of the held-out text and measured on the other; both classes in equal number, so that 0.5 is chance.
Labels are Python's syntax, token by token, and the text sets that come with saelab, whose rows are means over a text.
Beside them stand

    raw         the same probe on the k raw dimensions of the site whose mean differs most
    dense       a probe on the whole row: what is there to be found
    shuffled    the best single feature for labels dealt out anew: chance
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

import numpy as np
from jaxtyping import Bool
from pydantic import Field

from saelab.config import Settings
from saelab.contracts import Progress, Silent
from saelab.errors import EvalError, EvalSkipped
from saelab.evals.probes import balanced, fit
from saelab.evals.sample import Sample, difference, syntax_samples
from saelab.evals.subject import Figure, Subject
from saelab.evals.texts import text_samples

NEEDS = ("model", "python")
SOURCE = "Gurnee et al. 2023, Finding neurons in a haystack; Karvonen et al. 2025, SAEBench (sparse_probing)"
KS = (1, 2, 5)
_MEAN = "mean over labels of the accuracy, both classes weighing equal,"
METRICS = {
    **{f"accuracy_k{k}": f"{_MEAN} of a probe on {k} feature{'s' if k > 1 else ''}" for k in KS},
    **{f"raw_k{k}": f"{_MEAN} of a probe on {k} raw dimension{'s' if k > 1 else ''}" for k in KS},
    "dense": f"{_MEAN} of a probe on the whole row",
    "shuffled_k1": f"{_MEAN} of a probe on one feature when labels are dealt out anew: chance is 0.5",
    "above_raw_k1": "share of labels that one feature tells better than one raw dimension",
    "text_accuracy_k1": "the same as accuracy_k1, of the text sets alone",
    "text_accuracy_k5": "the same as accuracy_k5, of the text sets alone",
    "text_dense": "the same as dense, of the text sets alone",
}


class Config(Settings):
    tokens: int = Field(40_000, gt=0, description="Held-out tokens to label, both halves together.")
    per_document: int = Field(2_048, gt=0, description="Tokens of one document, at most, spread evenly over it.")
    positives: int = Field(100, gt=0, description="Tokens a label needs in each half.")
    train: int = Field(1000, gt=0, description="Rows of each class to fit on, at most.")
    test: int = Field(500, gt=0, description="Rows of each class to measure on, at most.")
    texts: bool = Field(True, description="Also the text sets.")
    l2: float = Field(1e-3, ge=0, description="Weight of |w|^2 / 2 of the standardised probe.")
    seed: int = Field(0, description="Of the rows drawn and of the shuffled control.")


@dataclass(frozen=True)
class Task:
    """One label. `features` are the five whose mean differs most, the first alone for k = 1."""

    label: str
    kind: str
    features: tuple[int, ...]
    accuracy: dict[int, float]
    raw: dict[int, float]
    dense: float
    shuffled: float
    n: int


@dataclass(frozen=True)
class Result:
    """Labels by falling accuracy of one feature."""

    seed: int
    tasks: tuple[Task, ...]

    def figures(self) -> list[Figure]:
        """One row per metric, means over labels; n counts labels."""
        found = _means(self.tasks)
        texts = [task for task in self.tasks if task.kind == "text"]
        of_texts = {f"text_{name}": value for name, value in _means(texts).items()} if texts else {}
        values = {name: (found | of_texts).get(name) for name in METRICS}
        n = {True: len(texts), False: len(self.tasks)}
        return [
            Figure(name, value, n[name.startswith("text_")], self.seed)
            for name, value in values.items()
            if value is not None
        ]

    def table(self) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Column names and one row per label."""
        columns = (
            "label",
            "feature",
            *(f"k={k}" for k in KS),
            *(f"raw k={k}" for k in KS),
            "dense",
            "shuffled",
            "rows",
        )
        return columns, [
            (t.label, t.features[0], *t.accuracy.values(), *t.raw.values(), t.dense, t.shuffled, t.n)
            for t in self.tasks
        ]

    def summary(self) -> list[str]:
        """The lines to read when there is time for no more."""
        m = _means(self.tasks)
        return [
            f"{len(self.tasks)} labels: one feature tells them with an accuracy of {m['accuracy_k1']:.3f}, five with "
            f"{m['accuracy_k5']:.3f}; raw dimensions {m['raw_k1']:.3f} and {m['raw_k5']:.3f}, the whole row "
            f"{m['dense']:.3f}, chance {m['shuffled_k1']:.3f}"
        ]

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return asdict(self)


def _means(tasks: tuple[Task, ...] | list[Task]) -> dict[str, float]:
    return {
        **{f"accuracy_k{k}": mean(t.accuracy[k] for t in tasks) for k in KS},
        **{f"raw_k{k}": mean(t.raw[k] for t in tasks) for k in KS},
        "dense": mean(t.dense for t in tasks),
        "shuffled_k1": mean(t.shuffled for t in tasks),
        "above_raw_k1": mean(t.accuracy[1] > t.raw[1] for t in tasks),
    }


def run(subject: Subject, cfg: Config, progress: Progress | None = None) -> Result:
    """Probe the subject's features for syntax on held-out documents, and for the text sets."""
    progress = progress or Silent()
    samples = list(_samples(subject, cfg, progress))
    jobs = [(kind, name, *both) for kind, both in samples for name in both[0].names if _enough(both, name, cfg, kind)]
    if not jobs:
        raise EvalError(
            f"no label has {cfg.positives} tokens in each half.\n  fix:   read more tokens, or ask for fewer"
        )
    progress.start("sparse probes", len(jobs), "labels")
    tasks = []
    for number, (kind, name, a, b) in enumerate(jobs):
        tasks.append(probe(a, b, name, kind, cfg, np.random.default_rng([cfg.seed, number])))
        progress.advance(1)
    return Result(cfg.seed, tuple(sorted(tasks, key=lambda task: -task.accuracy[1])))


def _samples(subject: Subject, cfg: Config, progress: Progress) -> Iterator[tuple[str, tuple[Sample, Sample]]]:
    """Rows to fit on and rows to measure on, of each kind of label."""
    texts = list(text_samples(subject, progress)) if cfg.texts else []
    try:
        yield "syntax", syntax_samples(subject, cfg.tokens, cfg.per_document, progress)
    except EvalSkipped:
        raise
    except EvalError as error:  # no Python: the text sets are left
        if not texts:
            raise
        progress.note(f"no labels of syntax: {str(error).splitlines()[0]}")
    yield from (("text", both) for both in texts)


def _enough(both: tuple[Sample, Sample], name: str, cfg: Config, kind: str) -> bool:
    least = cfg.positives if kind == "syntax" else 5
    return all(min(s.label(name).sum(), (~s.label(name)).sum()) >= least for s in both)


def probe(a: Sample, b: Sample, name: str, kind: str, cfg: Config, random: np.random.Generator) -> Task:
    """The probes of one label: chosen and fitted on rows of `a`, measured on rows of `b`."""
    fitted, seen = (s.take(balanced(s.label(name), most, random)) for s, most in ((a, cfg.train), (b, cfg.test)))
    y_a, y_b = fitted.label(name), seen.label(name)
    features, raw = (np.argsort(-np.abs(difference(v, y_a)), kind="stable")[: max(KS)] for v in (fitted.f, fitted.x))
    chance_a, chance_b = (random.permutation(y) for y in (y_a, y_b))
    chance = np.argsort(-np.abs(difference(fitted.f, chance_a)), kind="stable")[:1]
    of_features = [s.f[:, features].toarray() for s in (fitted, seen)]
    return Task(
        label=name,
        kind=kind,
        features=tuple(features.tolist()),
        accuracy={k: _accuracy(of_features[0][:, :k], y_a, of_features[1][:, :k], y_b, cfg) for k in KS},
        raw={k: _accuracy(fitted.x[:, raw[:k]], y_a, seen.x[:, raw[:k]], y_b, cfg) for k in KS},
        dense=_accuracy(fitted.x, y_a, seen.x, y_b, cfg),
        shuffled=_accuracy(fitted.f[:, chance].toarray(), chance_a, seen.f[:, chance].toarray(), chance_b, cfg),
        n=len(y_b),
    )


def _accuracy(
    x_a: np.ndarray, y_a: Bool[np.ndarray, "fitted"], x_b: np.ndarray, y_b: Bool[np.ndarray, "seen"], cfg: Config
) -> float:
    return fit(x_a, y_a, cfg.l2).accuracy(x_b, y_b)
