"""Labels without a judge: for each feature the rule in words that best says when it fires.

Everything is counted over the index's (row, feature, activation) entries; nothing is as large as tokens x features.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from pydantic import Field

from saelab.config import Settings
from saelab.contracts import Progress, Silent
from saelab.explain.choose import choose, measure
from saelab.explain.families import Family, place_family, token_families
from saelab.explain.syntax import syntax_family
from saelab.explain.text import Text, read_text
from saelab.features import Index
from saelab.features.firing import Firing
from saelab.lm import LanguageModel
from saelab.store import Store

GOOD = 0.8  # held-out F1 from which on a rule is said to describe its feature
BEYOND = 0.1  # and how far above always saying yes it has to be


class RuleConfig(Settings):
    tokens: int = Field(1_000_000, gt=0, description="Rows of the index's split to read, both halves together.")
    least: int = Field(20, gt=0, description="Tokens on which a feature must fire in each half.")
    most: int = Field(6, gt=0, description="Tokens that a rule may name as alternatives.")


@dataclass(frozen=True)
class RuleLabel:
    """The rule of one feature. All figures but `f1_chosen` are of the half it was not chosen on.

    `threshold` is what the feature must exceed to count as firing, `share` the same as a share of its maximum in the
    half of the choice; `covers` is the share of its summed activation that lies above. `fires` and `says` count tokens:
    above the threshold, and where the rule says yes.
    """

    feature: int
    label: str
    kind: str
    f1: float
    precision: float
    recall: float
    f1_chosen: float
    trivial_f1: float
    threshold: float
    share: float
    covers: float
    fires: int
    says: int

    @property
    def good(self) -> bool:
        """Whether the rule describes the feature: F1 >= 0.8, and 0.1 or more above always saying yes."""
        return self.f1 >= GOOD and self.f1 >= self.trivial_f1 + BEYOND


@dataclass(frozen=True)
class Labelling:
    """Rules by falling F1. `silent` features fire on too few tokens of a half to be described."""

    labels: tuple[RuleLabel, ...]
    features: int
    silent: int
    tokens: int
    documents: int
    kinds: tuple[str, ...]

    @property
    def good(self) -> int:
        """Features that their rule describes."""
        return sum(one.good for one in self.labels)

    def table(self) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Column names and one row per feature."""
        columns = ("feature", "rule", "above", "covers", "F1", "precision", "recall", "F1 chosen", "tokens")
        return columns, [
            (
                one.feature,
                one.label,
                f"{one.share:.0%} of max" if one.share else "0",
                f"{one.covers:.0%}",
                one.f1,
                one.precision,
                one.recall,
                one.f1_chosen,
                one.fires,
            )
            for one in self.labels
        ]

    def summary(self) -> list[str]:
        """The lines to read when there is time for no more."""
        kinds = Counter(one.kind for one in self.labels if one.good)
        return [
            f"{self.good} of {self.features:,} features have a rule of F1 >= {GOOD:g} on documents it was not chosen "
            f"on, {BEYOND:g} or more above always saying yes"
            + (": " + ", ".join(f"{n} by {kind}" for kind, n in kinds.most_common()) if kinds else ""),
            f"{len(self.labels):,} features have a rule; {self.silent:,} fire on too few tokens; "
            f"{self.tokens:,} tokens of {self.documents} documents, half of them to choose, half to measure",
        ]

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return {"good": self.good, **asdict(self)}

    def as_labels(self) -> dict[int, dict[str, Any]]:
        """As the index keeps labels."""
        names = ("label", "f1", "precision", "recall", "threshold", "covers", "kind")
        return {one.feature: {name: getattr(one, name) for name in names} for one in self.labels}


def label_features(
    index: Index,
    store: Store,
    lm: LanguageModel | None = None,
    cfg: RuleConfig | None = None,
    progress: Progress | None = None,
) -> Labelling:
    """The best rule of every feature. Without `lm`, whose tokenizer finds the documents' characters, no syntax.

    Raises StoreMismatch when the index was made from another store, EvalError when there are too few documents.
    """
    cfg, progress = cfg or RuleConfig(), progress or Silent()
    index.require_store(store)
    text = read_text(store, index, cfg.tokens)
    families = [*token_families(text, cfg.most), place_family(text)]
    syntax = lm and syntax_family(lm, store, str(index.facts["settings"]["split"]), text, progress)
    return rules(index, text, [*families, *([syntax] if syntax else [])], cfg, progress)


def rules(index: Index, text: Text, families: Sequence[Family], cfg: RuleConfig, progress: Progress) -> Labelling:
    """The best rule of every feature among `families`."""
    found: list[RuleLabel] = []
    tried = 0
    progress.start("rules", index.n_features, "features")
    for firing in index.firing():
        a, b = halves(firing, text)
        if min(len(a.rows), len(b.rows)) >= cfg.least:
            tried += 1
            found += _label(a, b, text, families, cfg.least)
        progress.advance(1)
    return Labelling(
        labels=tuple(sorted(found, key=lambda one: (-one.f1, one.feature))),
        features=index.n_features,
        silent=index.n_features - tried,
        tokens=len(text),
        documents=len(np.unique(text.doc)),
        kinds=tuple(family.kind for family in families),
    )


def halves(firing: Firing, text: Text) -> tuple[Firing, Firing]:
    """What of a feature's activations lies in half A, and what in half B."""
    inside = firing.rows < len(text)
    rows, acts = firing.rows[inside], firing.acts[inside]
    other = text.other[rows]
    return Firing(firing.feature, rows[~other], acts[~other]), Firing(firing.feature, rows[other], acts[other])


def _label(a: Firing, b: Firing, text: Text, families: Sequence[Family], least: int) -> list[RuleLabel]:
    """The feature's rule, if there is one that is right at least once on half B."""
    other = int(text.other.sum())
    rule = choose(a, families, len(text) - other, least, b)
    if rule is None:
        return []
    seen = measure(rule, b, other)
    if not seen.both:
        return []
    return [
        RuleLabel(
            feature=a.feature,
            label=rule.family.words(rule.keys),
            kind=rule.family.kind,
            f1=seen.f1,
            precision=seen.precision,
            recall=seen.recall,
            f1_chosen=rule.f1,
            trivial_f1=seen.trivial,
            threshold=rule.threshold,
            share=rule.share,
            covers=seen.covers,
            fires=seen.fires,
            says=seen.says,
        )
    ]
