"""An index on disk, and every question that can be asked of it. Reads only; needs no SAE and no language model."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from torch import Tensor

from saelab.contracts import Progress
from saelab.errors import FeatureIndexError
from saelab.features import card, histogram, search, sql, stats, table, verify
from saelab.features.generation import Generation
from saelab.features.labels import Labels
from saelab.features.layout import current
from saelab.features.records import FeatureCard, FeatureStats, FeatureTable, Histogram, Label, TokenMatch
from saelab.features.table import FeatureFilter


class Index:
    """A checkpoint's features: `Index.open(path)`, then `.features()`, `.card(12)`, `.sql("select …")`.

    When the index is built anew meanwhile, the next question is answered from the new one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._labels = Labels(path)
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
        """What features stand for, as far as that has been written down."""
        return self._labels.all()

    def features(
        self,
        order: str = "density",
        descending: bool = True,
        where: FeatureFilter | None = None,
        limit: int | None = 100,
        offset: int = 0,
    ) -> FeatureTable:
        """One page of the table of features; `limit` None gives all. `order` is one of `table.ORDERS`."""
        return table.table(
            self._now().cursor(),
            self.labels,
            order=order,
            descending=descending,
            where=where or FeatureFilter(),
            limit=limit,
            offset=offset,
        )

    def card(self, feature: int, examples: int = 20) -> FeatureCard:
        """All about one feature, with `examples` of its strongest contexts, or as many as the index keeps.

        Raises FeatureIndexError when there is no such feature.
        """
        now = self._now()
        self._require(now, feature)
        kept = now.facts["settings"]
        top, quantiles = min(examples, kept["top"]), kept["quantiles"]
        return card.card(now.cursor(), now.vocabulary, self.labels, feature, top=top, quantiles=quantiles)

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

    def search_label(self, text: str, limit: int | None = 100, offset: int = 0) -> FeatureTable:
        """Features whose label contains `text`, the best founded (highest F1) first."""
        return self.features("f1", where=FeatureFilter(label=text), limit=limit, offset=offset)

    def search_promoted(self, text: str, limit: int = 100) -> tuple[TokenMatch, ...]:
        """Features that promote a token containing `text`, the strongest effect first."""
        now = self._now()
        return search.promoting(now.cursor(), now.vocabulary, self.labels, text, limit)

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
