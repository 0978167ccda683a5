"""Absorption: does the feature of a concept stay silent where a narrower feature speaks for it?

A probe says which rows carry a concept; p is its unit direction. The concept's own features are the k best of a
k-sparse probe, k as long as F1 rises by more than 0.03. On each row that carries the concept and that the probe gets
right, with c_j = cos(W_dec[j], p) and proj_j = f_j c_j,

    main       = sum of proj_j over the concept's own features
    absorbers  = sum of the three largest proj_j of others with c_j >= 0.1
    whole      = (x - b_dec) . p
    fraction   = 0 where main >= whole or absorbers / whole < 0.4; 1 where main <= 0; else a / (a + main),
                 a = min(absorbers, whole - main)
    full       : all own features silent, the largest proj_j of one with c_j >= 0.025 and at least 0.4 of whole

Concepts are of Python's syntax with narrower labels below them ("keyword" above "keyword def"), and, where at least
five letters have a probe of F1 >= 0.6 on words it was not fitted on, the first letter of a word. SAEBench takes x . p
for `whole`; less b_dec it is what features are to add up to.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import Field

from saelab.config import Settings
from saelab.contracts import Progress, Silent
from saelab.errors import EvalError, EvalSkipped
from saelab.evals.first_letter import word_samples
from saelab.evals.probes import Probe, balanced, fit
from saelab.evals.sample import Sample, difference, require_autoencoder, syntax_samples
from saelab.evals.subject import Figure, Subject
from saelab.metrics import f1
from saelab.sae import SAE

NEEDS = ("model", "python")
SOURCE = "Chanin et al. 2024, A is for absorption; Karvonen et al. 2025, SAEBench (absorption)"
_PARTS = {
    "absorption": "mean over concepts of the mean absorption fraction of their tokens",
    "full_absorption": "mean over concepts of the share of their tokens that are absorbed in full",
    "splits": "mean number of features that a concept has of its own",
    "probe_f1": "mean F1 of the concepts' probes on the half they were not fitted on",
}
_KINDS = {"syntax": "labels of syntax", "letter": "first letters"}
METRICS = {f"{kind}_{part}": f"{text}: {of}" for kind, of in _KINDS.items() for part, text in _PARTS.items()}
PARENTS: dict[str, tuple[str, ...]] = {
    "keyword": ("keyword def", "keyword return", "keyword if", "keyword for", "keyword in", "keyword import"),
    "operator": ("comparison sign", "arithmetic sign", "augmented assignment"),
    "opening bracket": ("(", "[", "{"),
    "closing bracket": (")", "]", "}"),
    "line break": ("line break to depth 0", "line break to depth 1", "line break to depth 2", "line break to depth 3+"),
    "docstring": ("module docstring", "class docstring", "function docstring"),
    "comment": ("comment sign", "comment on its own line", "comment after code"),
    "string": ("string opening", "string closing", "one-word string", "f-string", "bytes"),
}
LETTERS = 5  # with a good probe, below which the model is not asked
PROBE_F1, RISE, MOST_SPLITS = 0.6, 0.03, 10
ABSORBER_COSINE, FULL_COSINE, SHARE, ABSORBERS = 0.1, 0.025, 0.4, 3


class Config(Settings):
    tokens: int = Field(40_000, gt=0, description="Held-out tokens to label, both halves together.")
    per_document: int = Field(2_048, gt=0, description="Tokens of one document, at most, spread evenly over it.")
    positives: int = Field(
        60, gt=0, description="Tokens a label needs in each half; words a letter needs: a third of it."
    )
    most: int = Field(1000, gt=0, description="Tokens of each class to fit and to measure on.")
    words: int = Field(1500, ge=0, description="Words to ask the first letter of; 0: none.")
    l2: float = Field(1e-3, ge=0, description="Weight of |w|^2 / 2 of the standardised probe.")
    seed: int = Field(0, description="Of the rows drawn.")


@dataclass(frozen=True)
class Concept:
    """One concept: `children` maps the narrower labels to the mean fraction of their tokens."""

    kind: str
    label: str
    probe_f1: float
    features: tuple[int, ...]
    absorption: float
    full_absorption: float
    children: dict[str, float]
    n: int


@dataclass(frozen=True)
class Result:
    """Concepts by falling absorption, and why a kind is missing."""

    seed: int
    concepts: tuple[Concept, ...]
    left_out: dict[str, str]

    def figures(self) -> list[Figure]:
        """One row per metric of the kinds that were measured; n counts concepts."""
        found = []
        for kind in ("syntax", "letter"):
            ours = [one for one in self.concepts if one.kind == kind]
            if ours:
                values = {
                    "absorption": mean(one.absorption for one in ours),
                    "full_absorption": mean(one.full_absorption for one in ours),
                    "splits": mean(len(one.features) for one in ours),
                    "probe_f1": mean(one.probe_f1 for one in ours),
                }
                found += [Figure(f"{kind}_{name}", value, len(ours), self.seed) for name, value in values.items()]
        return found

    def table(self) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Column names and one row per concept."""
        columns = ("concept", "probe F1", "own features", "absorption", "in full", "most absorbed below", "tokens")
        return columns, [
            (c.label, c.probe_f1, ", ".join(map(str, c.features)), c.absorption, c.full_absorption, _worst(c), c.n)
            for c in self.concepts
        ]

    def summary(self) -> list[str]:
        """The lines to read when there is time for no more."""
        lines = [f"{f.metric.split('_')[0]}: absorption {f.value:.3f} over {f.n} concepts"
                 for f in self.figures() if f.metric.endswith("_absorption") and "full" not in f.metric]  # fmt: skip
        return [*lines, *(f"{kind} left out: {reason}" for kind, reason in self.left_out.items())]

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return asdict(self)


def _worst(concept: Concept) -> str:
    if not concept.children:
        return ""
    name = max(concept.children, key=lambda child: concept.children[child])
    return f"{name} ({concept.children[name]:.2f})"


def run(subject: Subject, cfg: Config, progress: Progress | None = None) -> Result:
    """Look for absorbed syntax and absorbed first letters. Raises EvalSkipped when neither can be asked."""
    progress = progress or Silent()
    require_autoencoder(subject, "absorption")
    concepts: list[Concept] = []
    left_out: dict[str, str] = {}
    for kind, find in (("syntax", _of_syntax), ("letter", _of_letters)):
        try:
            concepts += find(subject, cfg, progress)
        except EvalError as error:
            left_out[kind] = str(error).splitlines()[0]
    if not concepts:
        raise EvalSkipped("; ".join(f"{kind}: {reason}" for kind, reason in left_out.items()))
    return Result(cfg.seed, tuple(sorted(concepts, key=lambda one: (one.kind, -one.absorption))), left_out)


def _of_syntax(subject: Subject, cfg: Config, progress: Progress) -> list[Concept]:
    a, b = syntax_samples(subject, cfg.tokens, cfg.per_document, progress)
    found = []
    progress.start("absorbed syntax", len(PARENTS), "labels")
    for number, (parent, children) in enumerate(PARENTS.items()):
        random = np.random.default_rng([cfg.seed, number])
        if min(s.label(parent).sum() for s in (a, b)) >= cfg.positives:
            fitting, seen = (s.take(balanced(s.label(parent), cfg.most, random)) for s in (a, b))
            found.append(concept("syntax", parent, children, fitting, seen, subject.sae, cfg.l2))
        progress.advance(1)
    good = [one for one in found if one.probe_f1 >= PROBE_F1]
    if not good:
        raise EvalSkipped(f"no label of syntax has {cfg.positives} tokens in each half and a probe of F1 {PROBE_F1}")
    return good


def _of_letters(subject: Subject, cfg: Config, progress: Progress) -> list[Concept]:
    a, b = word_samples(subject, cfg.words, progress)
    found = []
    progress.start("absorbed first letters", len(a.names), "letters")
    for letter in a.names:
        if min(s.label(letter).sum() for s in (a, b)) >= max(1, cfg.positives // 3):
            found.append(concept("letter", letter, (), a, b, subject.sae, cfg.l2))
        progress.advance(1)
    good = [one for one in found if one.probe_f1 >= PROBE_F1]
    if len(good) < LETTERS:
        raise EvalSkipped(
            f"the model does not tell first letters: {len(good)} of {len(found)} letters have a probe of F1 >= "
            f"{PROBE_F1} on other words (mean {mean([one.probe_f1 for one in found] or [0]):.2f}), {LETTERS} are needed"
        )
    return good


def concept(kind: str, label: str, children: tuple[str, ...], a: Sample, b: Sample, sae: SAE, l2: float) -> Concept:
    """One concept: probe and own features of the rows of `a`, absorption on those of `b`."""
    y_a, y_b = a.label(label), b.label(label)
    probe = fit(a.x, y_a, l2)
    main = own_features(a, y_a, l2)
    rows = np.flatnonzero(y_b & (probe.logits(b.x) > 0))
    p = probe.w / np.linalg.norm(probe.w)
    W = sae.W_dec.detach().float().cpu().numpy()
    cosines = (W @ p) / np.maximum(np.linalg.norm(W, axis=1), 1e-12)
    whole = (b.x[rows] - sae.b_dec.detach().float().cpu().numpy()) @ p
    absorbed, full = fractions(b.f[rows], whole, cosines, main)
    below = {name: absorbed[b.label(name)[rows]] for name in children}
    return Concept(
        kind=kind,
        label=label,
        probe_f1=f1_of(probe.logits(b.x) > 0, y_b),
        features=tuple(main.tolist()),
        absorption=float(absorbed.mean()) if len(rows) else 0.0,
        full_absorption=float(full.mean()) if len(rows) else 0.0,
        children={name: float(values.mean()) for name, values in below.items() if len(values)},
        n=len(rows),
    )


def own_features(a: Sample, y: Bool[np.ndarray, "rows"], l2: float) -> Int[np.ndarray, "k"]:
    """The k features of the largest difference of means, k as long as the F1 of their probe rises by more than 0.03."""
    order = np.argsort(-difference(a.f, y), kind="stable")[:MOST_SPLITS]
    columns = a.f[:, order].toarray()
    kept, best = 1, None
    for k in range(1, len(order) + 1):
        probe: Probe = fit(columns[:, :k], y, l2)
        reached = f1_of(probe.logits(columns[:, :k]) > 0, y)
        if best is not None and reached - best <= RISE:
            break
        kept, best = k, reached
    return order[:kept]


def f1_of(said: Bool[np.ndarray, "rows"], y: Bool[np.ndarray, "rows"]) -> float:
    both = float((said & y).sum())
    return f1(both, float((said & ~y).sum()), float((~said & y).sum()))


def fractions(
    f: Any, whole: Float[np.ndarray, "rows"], cosines: Float[np.ndarray, "d_sae"], main: Int[np.ndarray, "k"]
) -> tuple[Float[np.ndarray, "rows"], Bool[np.ndarray, "rows"]]:
    """(absorption fraction, absorbed in full) of every row; f is CSR [rows, d_sae]."""
    own = np.isin(np.arange(len(cosines)), main)
    fraction, full = np.zeros(len(whole)), np.zeros(len(whole), dtype=bool)
    for row, (feature, value) in enumerate(_rows(f)):
        projection, mine = value * cosines[feature], own[feature]
        of_main = projection[mine].sum()
        others = projection[~mine & (cosines[feature] >= ABSORBER_COSINE) & (projection > 0)]
        absorbing = np.sort(others)[-ABSORBERS:].sum()
        fraction[row] = _fraction(float(of_main), float(absorbing), float(whole[row]))
        if len(projection) and not value[mine].any() and whole[row] > 0:
            top = projection.argmax()
            full[row] = cosines[feature[top]] >= FULL_COSINE and projection[top] >= SHARE * whole[row]
    return fraction, full


def _rows(f: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for row in range(f.shape[0]):
        begin, end = f.indptr[row], f.indptr[row + 1]
        yield f.indices[begin:end], f.data[begin:end]


def _fraction(main: float, absorbing: float, whole: float) -> float:
    if whole <= 0 or main >= whole or absorbing < SHARE * whole:
        return 0.0
    if main <= 0:
        return 1.0
    taken = min(absorbing, whole - main)
    return taken / (taken + main)
