"""An index on disk, and every question that can be asked of it. Reads only; needs no SAE and no language model."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from torch import Tensor

from saelab.contracts import Progress
from saelab.errors import FeatureIndexError
from saelab.features import (
    atlas,
    card,
    firing,
    histogram,
    sampled,
    search,
    sql,
    stats,
    table,
    tokenquery,
    verify,
    wordsearch,
)
from saelab.features.atlas import Atlas
from saelab.features.firing import Firing
from saelab.features.generation import Generation
from saelab.features.labels import Labels
from saelab.features.layout import current
from saelab.features.notes import Notebook, Notes, write_note
from saelab.features.records import Example, FeatureCard, FeatureStats, FeatureTable, Histogram, Label, TokenMatch
from saelab.features.sampled import Interval, Rows
from saelab.features.table import FeatureFilter
from saelab.features.tokenquery import TokenAnswer
from saelab.features.where import Where
from saelab.store import Store


class Index:
    """A checkpoint's features: `Index.open(path)`, then `.features()`, `.card(12)`, `.sql("select …")`.

    When the index is built anew meanwhile, the next question is answered from the new one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._labels = Labels(path)
        self._notes = Notes(path)
        self._merged: tuple[dict[int, Label], Notebook, dict[int, Label]] | None = None
        self._lock = threading.Lock()
        self._generation: Generation | None = None
        self._now()

    @classmethod
    def open(cls, path: Path | str) -> "Index":
        """Open the index in the folder `path`.

        Raises FeatureIndexError when there is none, when its database is damaged, and when the checkpoint's weights
        have changed since it was made.
        """
        return cls(Path(path))

    def _now(self) -> Generation:
        """The generation the pointer names at this moment."""
        with self._lock:
            now = current(self.path)
            if now is None:
                raise FeatureIndexError(
                    f"{self.path} holds no finished feature index.\n  fix:   `saelab index CHECKPOINT` makes one"
                )
            held = self._generation
            if held is None or (held.number, held.layout.key) != (now.generation, now.key):
                self._generation = held = Generation(self.path, now)
            return held

    @property
    def facts(self) -> dict[str, Any]:
        """What it was made from, and how each of its numbers was computed."""
        return self._now().facts

    @property
    def checkpoint(self) -> Path:
        """The checkpoint whose features these are."""
        return self._now().checkpoint

    @property
    def generation(self) -> int:
        """Counts the builds published in this folder."""
        return self._now().number

    @property
    def n_features(self) -> int:
        return int(self.facts["features"])

    @property
    def n_tokens(self) -> int:
        """Counted tokens: rows of the store."""
        return int(self.facts["tokens"])

    @property
    def site(self) -> str:
        """The site the SAE reads."""
        return str(self.facts["site"])

    @property
    def labels(self) -> dict[int, Label]:
        """What features stand for, as far as that has been written down: a person's own label before any other.

        The same object as long as nothing has been written.
        """
        found, book = self.automatic, self.notebook
        held = self._merged
        if held is None or held[0] is not found or held[1] is not book:
            own = {n: Label(note.label, kind="own") for n, note in book.notes.items() if note.label}
            self._merged = held = (found, book, {**found, **own})
        return held[2]

    @property
    def automatic(self) -> dict[int, Label]:
        """What rules or evaluations say that features stand for."""
        return self._labels.all()

    @property
    def scored(self) -> bool:
        """Whether the F1 of any automatic label was measured."""
        return any(label.f1 is not None for label in self.automatic.values())

    @property
    def notebook(self) -> Notebook:
        """What a person wrote of features, or why it cannot be shown."""
        return self._notes.all(str(self.facts["weights"]))

    def note(self, feature: int, label: str, text: str) -> None:
        """Keep a person's label and note of a feature; both empty removes them. Raises FeatureIndexError."""
        self._require(self._now(), feature)
        write_note(self.path, str(self.facts["weights"]), feature, label, text)

    @property
    def token_strings(self) -> tuple[str, ...]:
        """The readable string of every token by id; empty when the index was built without a language model."""
        return tuple(self._now().vocabulary.tokens)

    def firing(self, features: range | None = None) -> Iterator[Firing]:
        """Every feature that fires, or each of `features` that does, with all of its activations."""
        return firing.every(self._now(), features)

    def firing_of(self, feature: int) -> Firing:
        """All activations of one feature. Raises FeatureIndexError when there is no such feature."""
        now = self._now()
        self._require(now, feature)
        return firing.of(now, feature)

    def require_store(self, store: Store) -> None:
        """Raise StoreMismatch unless the index was made from this store."""
        tokenquery.require_store(self._now(), store)

    def rows(self, store: Store) -> Rows:
        """The tokens the index was made from. Raises StoreMismatch when they are another store's."""
        return Rows.read(self._now(), store)

    def intervals(self, rows: Rows, feature: int, n: int = 5, each: int = 5) -> tuple[Interval, ...]:
        """The feature's activations in `n` equally wide intervals, strongest first, with random examples of each."""
        self._require(self._now(), feature)
        return sampled.intervals(self._now(), rows, feature, n, each)

    def silent(self, rows: Rows, feature: int, n: int = 10) -> tuple[Example, ...]:
        """Random places where the feature does not fire; fewer than `n` when they are hard to find."""
        self._require(self._now(), feature)
        return sampled.silent(self._now(), rows, feature, n)

    def features(
        self,
        order: str = "density",
        descending: bool = True,
        where: FeatureFilter | Where | None = None,
        limit: int | None = 100,
        offset: int = 0,
    ) -> FeatureTable:
        """One page of the table of features; `limit` None gives all. `order` is one of `table.ORDERS`."""
        now, labels = self._now(), self.labels
        return table.table(
            now.labelled(labels, self.automatic),
            labels,
            order=order,
            descending=descending,
            where=where or FeatureFilter(),
            limit=limit,
            offset=offset,
        )

    def atlas(self, where: Where | None = None) -> Atlas:
        """All features at once, and which of them pass `where`."""
        now = self._now()
        return atlas.atlas(now.labelled(self.labels, self.automatic), where or Where(), now.facts)

    def card(self, feature: int, examples: int = 20) -> FeatureCard:
        """All about one feature, with `examples` of its strongest contexts, or as many as the index keeps.

        Raises FeatureIndexError when there is no such feature.
        """
        now = self._now()
        self._require(now, feature)
        kept = now.facts["settings"]
        top, quantiles = min(examples, kept["top"]), kept["quantiles"]
        return card.card(now.bare_cursor(), now.vocabulary, self.labels, feature, top=top, quantiles=quantiles)

    def stats(self, feature: int) -> FeatureStats:
        """The numbers of one feature. Raises FeatureIndexError when there is no such feature."""
        now = self._now()
        self._require(now, feature)
        return stats.stats(now.cursor(), feature)

    def maximum(self, features: Sequence[int]) -> Float[Tensor, "n"]:
        """The largest activation of each of these features, in the unit `Steer.strength` counts in."""
        now = self._now()
        for feature in features:
            self._require(now, feature)
        return stats.maximum(now.cursor(), features)

    def mean(self, features: Sequence[int]) -> Float[Tensor, "n"]:
        """The mean activation of each of these features over all counted tokens: what mean ablation puts in."""
        now = self._now()
        for feature in features:
            self._require(now, feature)
        return stats.mean(now.cursor(), features)

    def counts(self) -> Int[np.ndarray, "d_sae"]:
        """On how many of the indexed tokens each feature fires."""
        return stats.counts(self._now().cursor())

    def strongest(self, top: int) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
        """(feature, row of the peak) of every feature's `top` strongest contexts."""
        return stats.strongest(self._now().layout.tables("examples"), top)

    def search_label(self, text: str, limit: int | None = 100, offset: int = 0) -> FeatureTable:
        """Features whose label contains `text`, the best founded (highest F1) first."""
        return self.features("f1", where=FeatureFilter(label=text), limit=limit, offset=offset)

    def search_promoted(self, text: str, limit: int = 100) -> tuple[TokenMatch, ...]:
        """Features that promote a token containing `text`, the strongest effect first."""
        now = self._now()
        return search.promoting(now.cursor(), now.vocabulary, self.labels, text, limit)

    def search_words(self, text: str, limit: int = 100) -> tuple[int, ...]:
        """Features whose label or note matches the words of `text`, best match (BM25) first."""
        known = {number: label.text for number, label in self.labels.items()}
        for number, note in self.notebook.notes.items():
            known[number] = f"{known.get(number, '')} {note.text}"
        return tuple(number for number, _ in wordsearch.matching(self._now().cursor(), known, text, limit))

    def search_fires(self, store: Store, text: str, contains: bool = False, limit: int = 100) -> TokenAnswer:
        """Features that fire on the token `text` (or on tokens containing it) among the indexed rows of `store`."""
        return tokenquery.firing_on(self._now(), store, self.labels, text, contains=contains, limit=limit)

    def density_histogram(self) -> Histogram:
        """Features by density, four bins per factor of ten; those that never fire are left out."""
        return histogram.density_histogram(self._now().cursor())

    def sql(self, query: str) -> pa.Table:
        """The answer to one SELECT over the index's tables and `activations` (feature, act, row)."""
        return sql.answer(self._now(), query)

    def verify(self, progress: Progress | None = None) -> list[str]:
        """What is wrong with any of its files: missing, another size, another checksum. Empty when it is whole."""
        return verify.problems(self._now(), progress)

    @staticmethod
    def _require(now: Generation, feature: int) -> None:
        if not 0 <= feature < now.facts["features"]:
            raise FeatureIndexError(
                f"there is no feature {feature}: {now.checkpoint.name} has features 0 to {now.facts['features'] - 1}."
            )
