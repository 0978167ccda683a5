"""Syntax: which feature stands for which part of Python?

Labels of every token come from `tokenize` and `ast` (see `labels`). For each label, the feature and the threshold
of the best F1 on half of the held-out documents; what counts is the F1 on the other half. Beside it stand

    neuron      the best raw dimension of the site, either sign, found the same way
    shuffled    the best feature for the label's own tokens dealt out anew at random: what chance finds
    base rate   the label's share p of all tokens
    trivial     2p / (1 + p), the F1 of always saying yes

Labels with too few tokens in either half are left out and counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from pydantic import Field

from saelab.config import Settings
from saelab.contracts import Progress, Silent
from saelab.errors import EvalError
from saelab.evals.heldout import require_same_model
from saelab.evals.labelled import Half, LabelledRows, halves, labelled_documents, labelled_rows, with_features
from saelab.evals.labels import LABELS
from saelab.evals.scoring import Scores, feature_blocks, neuron_blocks, score
from saelab.evals.subject import Figure, Subject
from saelab.intervene import sites
from saelab.lm import LanguageModel
from saelab.sae import SAE
from saelab.store import Store

NEEDS = ("model", "python")
SOURCE = "this project; labels after Python's own tokenize and ast"
METRICS = {
    "labels_found": "labels with a feature of F1 >= 0.8 on the half it was not chosen on",
    "labels_found_beyond_trivial": "those of them whose F1 is 0.1 or more above that of always saying yes",
    "mean_f1": "mean over labels of the best feature's F1",
    "mean_f1_neuron": "the same of the best raw dimension of the site, either sign",
    "mean_f1_shuffled": "the same of the best feature for the label's tokens dealt out anew: chance",
    "share_above_neuron": "share of labels whose best feature has a higher F1 than the best raw dimension",
}

GOOD = 0.8  # F1 from which on a feature is said to stand for a label
BEYOND = 0.1  # and how far above the trivial F1 it has to be to be more than a frequent feature


class Config(Settings):
    tokens: int = Field(100_000, gt=0, description="Held-out tokens to label, both halves together.")
    per_document: int = Field(4_096, gt=0, description="Tokens of one document, at most, spread evenly over it.")
    positives: int = Field(50, gt=0, description="Tokens a label needs in each half.")
    batch: int = Field(16, gt=0, description="Contexts of a forward pass.")
    seed: int = Field(0, description="Of the shuffled control.")


@dataclass(frozen=True)
class LabelScore:
    """The feature that best stands for one label. All but `threshold` is of half B."""

    label: str
    feature: int
    threshold: float
    f1: float
    precision: float
    recall: float
    neuron: int
    neuron_sign: int
    neuron_f1: float
    shuffled_f1: float
    base_rate: float
    trivial_f1: float
    positives: int


COLUMNS: dict[str, Callable[[LabelScore], str | int | float]] = {
    "label": lambda one: one.label,
    "feature": lambda one: one.feature,
    "F1": lambda one: one.f1,
    "precision": lambda one: one.precision,
    "recall": lambda one: one.recall,
    "neuron": lambda one: f"{'+' if one.neuron_sign > 0 else '-'}{one.neuron}",
    "its F1": lambda one: one.neuron_f1,
    "shuffled": lambda one: one.shuffled_f1,
    "base rate": lambda one: one.base_rate,
    "trivial": lambda one: one.trivial_f1,
    "tokens": lambda one: one.positives,
}


@dataclass(frozen=True)
class FeatureLabel:
    """The label that one feature stands for best; figures of half B."""

    feature: int
    label: str
    f1: float
    precision: float
    recall: float


@dataclass(frozen=True)
class Result:
    """Labels by falling F1, and the best label of every feature that has one."""

    documents: int
    tokens: int
    labels: tuple[LabelScore, ...]
    left_out: tuple[str, ...]  # labels with too few tokens
    features: tuple[FeatureLabel, ...]

    @property
    def good(self) -> int:
        """Labels with a feature of F1 >= 0.8."""
        return sum(one.f1 >= GOOD for one in self.labels)

    @property
    def good_beyond_trivial(self) -> int:
        """Those of them whose F1 is also 0.1 or more above that of always saying yes."""
        return sum(one.f1 >= GOOD and one.f1 >= one.trivial_f1 + BEYOND for one in self.labels)

    @property
    def beats_neuron(self) -> float:
        """Share of labels whose best feature has a higher F1 than the best neuron."""
        return sum(one.f1 > one.neuron_f1 for one in self.labels) / len(self.labels)

    @property
    def shuffled_excess(self) -> float:
        """The largest excess of the shuffled control over the base rate."""
        return max(one.shuffled_f1 - one.base_rate for one in self.labels)

    def table(self) -> tuple[tuple[str, ...], list[tuple[str | int | float, ...]]]:
        """Column names and one row per label."""
        return tuple(COLUMNS), [tuple(value(one) for value in COLUMNS.values()) for one in self.labels]

    def summary(self) -> list[str]:
        """The lines to read when there is time for no more."""
        return [
            f"{self.good} of {len(self.labels)} labels have a feature of F1 >= {GOOD:g} on documents it was not "
            f"chosen on; {self.good_beyond_trivial} of these are {BEYOND:g} or more above always saying yes",
            f"features beat the best neuron on {self.beats_neuron:.0%} of labels; "
            f"shuffled labels reach at most {self.shuffled_excess:.2f} above their base rate",
            f"{self.tokens:,} tokens of {self.documents} documents; {len(self.left_out)} labels are too rare to score",
        ]

    def figures(self) -> list[Figure]:
        """One row per metric; n counts labels."""
        n = len(self.labels)
        values = {
            "labels_found": self.good,
            "labels_found_beyond_trivial": self.good_beyond_trivial,
            "mean_f1": sum(one.f1 for one in self.labels) / n,
            "mean_f1_neuron": sum(one.neuron_f1 for one in self.labels) / n,
            "mean_f1_shuffled": sum(one.shuffled_f1 for one in self.labels) / n,
            "share_above_neuron": self.beats_neuron,
        }
        return [Figure(name, value, n) for name, value in values.items()]

    def to_json(self) -> dict[str, Any]:
        """Every figure, without the label of each feature (`feature_labels`)."""
        plain = {name: value for name, value in asdict(self).items() if name != "features"}
        names = ("good", "good_beyond_trivial", "beats_neuron", "shuffled_excess")
        return {**{name: getattr(self, name) for name in names}, **plain}


def feature_labels(result: Result) -> dict[int, dict[str, Any]]:
    """{feature: {"label", "kind", "f1", "precision", "recall"}}, as the index keeps it."""
    return {
        one.feature: {
            "label": one.label, "kind": "syntax", "f1": one.f1, "precision": one.precision, "recall": one.recall,
        }
        for one in result.features
    }  # fmt: skip


def run(subject: Subject, cfg: Config, progress: Progress | None = None) -> Result:
    """Find what the features of the subject's SAE stand for, on held-out Python documents."""
    return measure(subject.sae, subject.lm, subject.store, cfg, progress)


def measure(sae: SAE, lm: LanguageModel, store: Store, cfg: Config, progress: Progress | None = None) -> Result:
    """Find what the features of `sae` stand for, on held-out Python documents of the corpus of `store`."""
    return measure_all([sae], lm, store, cfg, progress)[0]


def measure_all(
    saes: Sequence[SAE], lm: LanguageModel, store: Store, cfg: Config, progress: Progress | None = None
) -> list[Result]:
    """The same of several SAEs: the model reads the documents once for each site that they read."""
    progress = progress or Silent()
    for sae in saes:
        require_same_model(sae, lm, store)
    documents = labelled_documents(lm, store, cfg.tokens, cfg.per_document, progress)
    total = sum(len(context.ids) for document in documents for context in document.contexts)
    at: dict[str, tuple[LabelledRows, LabelledRows, Scores]] = {}
    for site in dict.fromkeys(sites(sae)[0] for sae in saes):
        progress.start(f"labelled tokens at {site}", total, "tokens")
        a, b = (labelled_rows(lm, site, half, cfg.batch, progress) for half in halves(documents))
        at[site] = a, b, neurons_of(a, b, cfg)
    progress.start("labels that features stand for", sum(sae.cfg.d_sae for sae in saes), "features")
    found = []
    for sae in saes:
        a, b, neurons = at[sites(sae)[0]]
        both = with_features(a, sae), with_features(b, sae)
        found.append(scored(*both, neurons, sae.cfg.d_sae, tuple(LABELS), documents=len(documents), cfg=cfg))
        progress.advance(sae.cfg.d_sae)
    return found


def _enough(a: LabelledRows, b: LabelledRows, cfg: Config) -> Bool[np.ndarray, "labels"]:
    """Which labels have tokens enough in both halves. Raises EvalError when none has."""
    enough = (a.labels.sum(axis=1) >= cfg.positives) & (b.labels.sum(axis=1) >= cfg.positives)
    if not enough.any():
        raise EvalError(
            f"no label has {cfg.positives} tokens in each half of the {a.labels.shape[1] + b.labels.shape[1]:,} read.\n"
            "  fix:   read more tokens, or ask for fewer positives"
        )
    return enough


def neurons_of(a: LabelledRows, b: LabelledRows, cfg: Config) -> Scores:
    """The scores of the raw dimensions of the site."""
    enough = _enough(a, b, cfg)
    return score(neuron_blocks(a.x, b.x), a.labels[enough], b.labels[enough])


def scored(
    a: Half, b: Half, neurons: Scores, n_features: int, names: Sequence[str], *, documents: int, cfg: Config
) -> Result:
    """The scores of two halves that are labelled and encoded, beside `neurons_of` them."""
    enough = _enough(a, b, cfg)
    kept = [name for name, has in zip(names, enough, strict=True) if has]
    labels_a, labels_b = a.labels[enough], b.labels[enough]
    random = np.random.default_rng(cfg.seed)
    both_a, both_b = (np.concatenate([y, y[:, random.permutation(y.shape[1])]]) for y in (labels_a, labels_b))
    both = score(feature_blocks(a.features, b.features, n_features), both_a, both_b)
    features, shuffled = both.labels(0, len(kept)), both.labels(len(kept), 2 * len(kept))
    found = _Found(features, neurons, shuffled, labels_b.mean(axis=1))
    scores = [found.label(name, i) for i, name in enumerate(kept)]
    return Result(
        documents=documents,
        tokens=a.labels.shape[1] + b.labels.shape[1],
        labels=tuple(sorted(scores, key=lambda one: -one.f1)),
        left_out=tuple(name for name, has in zip(names, enough, strict=True) if not has),
        features=_features(features, kept, labels_a),
    )


@dataclass(frozen=True, eq=False)
class _Found:
    """What was found for the labels that are scored, in their order."""

    features: Scores
    neurons: Scores
    shuffled: Scores
    base_rate: Float[np.ndarray, "labels"]

    def label(self, name: str, i: int) -> LabelScore:
        """Label i, by the units that are best on half A."""
        features, rate = self.features, float(self.base_rate[i])
        best, neuron, chance = (int(s.f1_a[:, i].argmax()) for s in (features, self.neurons, self.shuffled))
        return LabelScore(
            label=name,
            feature=best,
            threshold=float(features.threshold[best, i]),
            f1=float(features.f1_b[best, i]),
            precision=float(features.precision[best, i]),
            recall=float(features.recall[best, i]),
            neuron=neuron // 2,
            neuron_sign=-1 if neuron % 2 else 1,
            neuron_f1=float(self.neurons.f1_b[neuron, i]),
            shuffled_f1=float(self.shuffled.f1_b[chance, i]),
            base_rate=rate,
            trivial_f1=2 * rate / (1 + rate),
            positives=int(features.positives_b[i]),
        )


def _features(
    scores: Scores, names: Sequence[str], labels_a: Bool[np.ndarray, "labels tokens"]
) -> tuple[FeatureLabel, ...]:
    """Each feature's best label: the one whose F1 on half A is furthest above trivial, as a share of the way to 1.

    By bare F1 every feature that fires often would stand for the most frequent label. A feature that is above
    trivial for none, or silent on half B, gets no label.
    """
    rate = labels_a.mean(axis=1)
    trivial = 2 * rate / (1 + rate)
    lift: Float[np.ndarray, "units labels"] = (scores.f1_a - trivial) / np.maximum(1e-9, 1 - trivial)
    best = lift.argmax(axis=1)
    unit = np.arange(len(best))
    f1, precision, recall = (table[unit, best] for table in (scores.f1_b, scores.precision, scores.recall))
    return tuple(
        FeatureLabel(int(u), names[best[u]], float(f1[u]), float(precision[u]), float(recall[u]))
        for u in unit
        if lift[u, best[u]] > 0 and f1[u] > 0
    )
