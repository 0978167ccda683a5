"""What an index knows of features, as other libraries' files hold it: page by page, never all at once.

    bars         activations above zero in 50 equally wide bins from the smallest to the largest: centre and count
    interval     low < activation <= high, of 5 equally wide ones from zero to the maximum; its share of counted tokens
    percentiles  the i-th is the smallest activation that at least i % of the active tokens stay at or below

The index keeps other histograms than these, so all three are counted from every single activation.
Numbers are written with five digits, which give half precision, in which activations are kept, back exactly.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from saelab.contracts import Progress
from saelab.errors import FormatError
from saelab.features import FeatureCard, Index

BARS, INTERVALS, TOP = 50, 5, 20
PAGE = 256  # features in one file, as Neuronpedia's own exports have them


@dataclass(frozen=True, eq=False)
class Described:
    """One feature: its card, and every activation above zero, strongest first."""

    card: FeatureCard
    acts: Float[np.ndarray, "n"]


@dataclass(frozen=True)
class Source:
    """An index to write from: the name of its SAE, the layer its site is in, which features, its facts as they were."""

    name: str
    layer: int
    features: range
    index: Index
    facts: dict[str, Any]

    @property
    def model(self) -> str:
        """The name of the language model."""
        return str(self.facts["model"]["name"])

    @property
    def tokens(self) -> int:
        """How many were counted."""
        return int(self.facts["tokens"])

    @classmethod
    def of(cls, index: Index, features: range | None) -> "Source":
        """Raises FormatError for an index without token strings, of no single layer, or without these features."""
        name, facts = index.checkpoint.name, index.facts
        if not index.token_strings:
            raise FormatError(
                f"the index of {name} was made without its language model, so it knows tokens by number only.\n"
                f"  fix:   make it where the language model {facts['model']['name']} can be loaded"
            )
        site = re.fullmatch(r"blocks\.(\d+)\.[\w.]+", index.site)
        if site is None:
            raise FormatError(f"these formats file features under one layer, and {name} reads {index.site}.")
        asked = range(index.n_features) if features is None else features
        if not (asked and asked[0] >= 0 and asked[-1] < index.n_features):
            raise FormatError(
                f"--features {asked.start}-{asked.stop - 1} is no part of {name}, "
                f"which has features 0 to {index.n_features - 1}."
            )
        return cls(name, int(site[1]), asked, index, facts)

    def described(self, progress: Progress) -> Iterator[Described]:
        """The features, by number. Raises FormatError when the index is built anew meanwhile."""
        generation = self.index.generation
        acts = self._acts()
        for feature in self.features:
            yield Described(self.index.card(feature, examples=TOP), next(acts))
            progress.advance(1)
        if self.index.generation != generation:
            raise FormatError(f"the index of {self.name} was built anew meanwhile.\n  fix:   run the command again")

    def pages(self, progress: Progress) -> Iterator[list[Described]]:
        """The same, PAGE features at a time."""
        page: list[Described] = []
        for one in self.described(progress):
            page.append(one)
            if len(page) == PAGE:
                yield page
                page = []
        if page:
            yield page

    def _acts(self) -> Iterator[Float[np.ndarray, "n"]]:
        """Of each feature."""
        firing = self.index.firing(self.features)
        held = next(firing, None)
        for feature in self.features:
            if held is not None and held.feature == feature:
                yield held.acts
                held = next(firing, None)
            else:
                yield np.zeros(0, np.float32)


@dataclass(frozen=True)
class FeatureFormat:
    """`write` puts sources into an empty folder and says what the files leave open."""

    holds: str  # in a few words
    write: Callable[[Sequence[Source], Path, Progress], list[str]]
    several: bool  # whether one folder holds more than one SAE's features


def bars(acts: Float[np.ndarray, "n"]) -> tuple[list[float], list[int]]:
    """Centres and counts; one bar where all activations are equal, none where there are none."""
    if not len(acts):
        return [], []
    low, high = float(acts.min()), float(acts.max())
    if low == high:
        return [short(low)], [len(acts)]
    counts, edges = np.histogram(acts.astype(np.float64), bins=BARS, range=(low, high))
    return shorts((edges[:-1] + edges[1:]) / 2), counts.tolist()


def percentiles(acts: Float[np.ndarray, "n"]) -> list[float]:
    """The 1st to the 100th; none where there are no activations."""
    if not len(acts):
        return []
    rank = -(-np.arange(1, 101) * len(acts) // 100)  # in whole numbers: 0.07 * 100 is above 7
    return shorts(np.sort(acts)[rank - 1])


def intervals(
    acts: Float[np.ndarray, "n"], tokens: int
) -> tuple[Float[np.ndarray, "edges"], Float[np.ndarray, "shares"]]:
    """The edges of the five intervals, from zero up, and the share of all `tokens` on which each is; none for none."""
    if not len(acts):
        return np.zeros(0), np.zeros(0)
    top = float(acts.max())
    edges = top * np.arange(INTERVALS + 1) / INTERVALS
    edges[-1] = top  # not a rounding below it
    return edges, np.bincount(interval_of(acts, edges), minlength=INTERVALS) / tokens


def interval_of(acts: Float[np.ndarray, "n"], edges: Float[np.ndarray, "edges"]) -> Int[np.ndarray, "n"]:
    """In which of them each activation lies: low < activation <= high."""
    return (np.searchsorted(edges, acts, side="left") - 1).clip(0, INTERVALS - 1)


def short(value: float) -> float:
    """Five digits of it."""
    return float(f"{value:.5g}") if value else 0.0  # most activations are zero, and this is asked a million times


def shorts(values: Sequence[float] | np.ndarray) -> list[float]:
    """Five digits of each."""
    return [short(value) for value in np.asarray(values, np.float64).tolist()]


def identifier(text: str) -> str:
    """A name as Neuronpedia takes them: the last part of a path, and nothing but letters, digits, "-" and "_"."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text.rsplit("/", 1)[-1]).strip("-").lower() or "unnamed"
