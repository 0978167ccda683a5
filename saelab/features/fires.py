"""Which features fire on a text that was typed in, and how to rank them.

    max          the strongest activation on any token
    sum          all activations added up
    specificity  max * ln((N + 1) / (n + 1)): strong here and rare elsewhere

where the feature fires on n of the N tokens of the index. All three can be asked of a part of the text, too.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from saelab.errors import CorpusError, FeatureIndexError
from saelab.features.index import Index
from saelab.features.indexing.codes import active
from saelab.features.records import Label
from saelab.lm import LanguageModel
from saelab.sae import SAE
from saelab.sae.sites import sites_read


@dataclass(frozen=True)
class TokenFeature:
    """One feature on one token."""

    feature: int
    activation: float


@dataclass(frozen=True)
class FiringFeature:
    """One feature over the whole text. `peak` is the token of its maximum; specificity needs an index."""

    feature: int
    max: float
    sum: float
    tokens: int
    peak: int
    specificity: float | None
    label: Label | None


_RANKINGS: dict[str, Callable[[FiringFeature], float | None]] = {
    "max": lambda feature: feature.max,
    "sum": lambda feature: feature.sum,
    "specificity": lambda feature: feature.specificity,
}


@dataclass(frozen=True)
class TextActivations:
    """A text as the SAE sees it. Token i is text[spans[i][0]:spans[i][1]]; features[i] fire on it, strongest first."""

    text: str
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    features: tuple[tuple[TokenFeature, ...], ...]
    firing: tuple[FiringFeature, ...]

    def ranking(
        self, by: str = "max", limit: int | None = None, span: tuple[int, int] | None = None
    ) -> tuple[FiringFeature, ...]:
        """The features that fire, by `max`, `sum` or `specificity`, highest first, equals by number.

        With `span`, only tokens span[0] to span[1], that one included, are looked at.
        """
        if by not in _RANKINGS:
            raise FeatureIndexError(f"features cannot be ranked by {by!r}. Rank by one of: {', '.join(_RANKINGS)}.")
        if by == "specificity" and any(feature.specificity is None for feature in self.firing):
            raise FeatureIndexError(
                "specificity needs to know how rare features are.\n  fix:   make an index with `saelab index`"
            )
        found = self.firing if span is None else self.within(*span)
        ranked = sorted(found, key=lambda feature: (-(_RANKINGS[by](feature) or 0.0), feature.feature))
        return tuple(ranked[:limit])

    def within(self, first: int, last: int) -> tuple[FiringFeature, ...]:
        """What fires on tokens `first` to `last`, each with its figures there; `peak` counts from the text's start.

        Raises FeatureIndexError when these are no tokens of the text.
        """
        if not 0 <= first <= last < len(self.features):
            raise FeatureIndexError(
                f"tokens {first} to {last} are no part of a text of tokens 0 to {len(self.features) - 1}."
            )
        whole = {one.feature: one for one in self.firing}
        return tuple(
            _narrowed(whole[feature], found) for feature, found in _by_feature(self.features, first, last).items()
        )

    def activations(self, feature: int) -> tuple[float, ...]:
        """What one feature does on each token, 0 where it does not fire."""
        return tuple(next((f.activation for f in token if f.feature == feature), 0.0) for token in self.features)


def fires_on(lm: LanguageModel, sae: SAE, text: str, index: Index | None = None) -> TextActivations:
    """Run `text` through the model and the SAE. With an index, features also get their specificity and label.

    Text longer than the model's context is read in pieces, each from a fresh start, as harvesting reads it.
    Raises CorpusError when there is nothing to read.
    """
    ids, spans = lm.encode_with_offsets(text)
    if not ids:
        raise CorpusError(f"the text {text!r} has no tokens.\n  fix:   type some")
    features = _by_token(lm, sae, ids)
    tokens = lm.token_strings(ids)
    return TextActivations(text, tuple(ids), tuple(tokens), tuple(spans), features, _firing(features, index))


@torch.inference_mode()
def _by_token(lm: LanguageModel, sae: SAE, ids: list[int]) -> tuple[tuple[TokenFeature, ...], ...]:
    found: list[list[TokenFeature]] = [[] for _ in ids]
    start = [] if lm.bos is None else [lm.bos]
    length = lm.context - len(start)
    sites = sites_read(sae.metadata, sae.cfg.d_in)
    for first in range(0, len(ids), length):
        piece = torch.tensor([start + ids[first : first + length]], device=lm.device)
        rows = sites.join(lm.activations(piece, sites.names))[0, len(start) :]
        codes = sae.encode_sparse(rows.to(sae.W_enc.device, torch.float32))
        for row, feature, act in zip(*(column.tolist() for column in active(codes)), strict=True):
            found[first + row].append(TokenFeature(feature, act))
    return tuple(tuple(sorted(token, key=lambda f: (-f.activation, f.feature))) for token in found)


def _by_feature(
    features: tuple[tuple[TokenFeature, ...], ...], first: int, last: int
) -> dict[int, list[tuple[float, int]]]:
    """(activation, token) of every feature that fires on tokens `first` to `last`."""
    acts: dict[int, list[tuple[float, int]]] = {}
    for token in range(first, last + 1):
        for one in features[token]:
            acts.setdefault(one.feature, []).append((one.activation, token))
    return acts


def _narrowed(one: FiringFeature, found: list[tuple[float, int]]) -> FiringFeature:
    """The feature on some of its tokens; how rare it is elsewhere stays."""
    highest, peak = max(found, key=lambda pair: (pair[0], -pair[1]))
    specific = None if one.specificity is None else one.specificity / one.max * highest
    total = math.fsum(act for act, _ in found)
    return FiringFeature(one.feature, highest, total, len(found), peak, specific, one.label)


def _firing(features: tuple[tuple[TokenFeature, ...], ...], index: Index | None) -> tuple[FiringFeature, ...]:
    acts = _by_feature(features, 0, len(features) - 1)
    counts = index.counts() if index else None
    labels = index.labels if index else {}
    found = []
    for feature in sorted(acts):
        highest, peak = max(acts[feature], key=lambda pair: (pair[0], -pair[1]))
        total = math.fsum(act for act, _ in acts[feature])
        rarity = math.log((index.n_tokens + 1) / (counts[feature] + 1)) if index and counts is not None else None
        specific = None if rarity is None else highest * rarity
        found.append(FiringFeature(feature, highest, total, len(acts[feature]), peak, specific, labels.get(feature)))
    return tuple(found)
