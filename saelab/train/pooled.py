"""Rows of several sites as rows of one: each site's in its own centre and scale, mixed in every batch.

    x' = (x - mean of the site) * sqrt(d) / mean |x - mean of the site|

A batch takes the same tokens at every site. What is trained on it stands for each of the sites once the site's own
centre and scale are folded into it.
"""

from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any

import torch
from torch import Tensor

from saelab.config import content_hash
from saelab.errors import ConfigError
from saelab.train.data import RowSource
from saelab.train.normalise import SAMPLE, Normalisation

SITE = "pooled"  # what the trainer takes the rows to be of


class PooledRows:
    """A RowSource with a single site, `SITE`, whose rows are those of the sites of `source`.

    Raises ConfigError for sites of different widths.
    """

    sites: tuple[str, ...] = (SITE,)

    def __init__(self, source: RowSource, sites: Sequence[str]) -> None:
        self.source, self.of = source, tuple(sites)
        widths = {site: source.d(site) for site in self.of}
        if len(set(widths.values())) > 1:
            raise ConfigError(
                f"rows of these sites have different widths, and no SAE reads both: {widths}.\n"
                "  fix:   name sites of one kind, for example site: [resid_post.0-3]"
            )
        sample = source.sample(self.of, SAMPLE)
        self.units = {site: Normalisation.of(rows, rows) for site, rows in sample.items()}

    def d(self, site: str) -> int:
        return self.source.d(self.of[0])

    def rows(self) -> int | None:
        rows = self.source.rows()
        return None if rows is None else rows * len(self.of)

    def sample(self, sites: Sequence[str], rows: int) -> dict[str, Tensor]:
        return self._mixed(sites, self.source.sample(self.of, self._tokens(rows)), rows)

    def batches(
        self, sites: Sequence[str], batch: int, seed: int, start: int = 0
    ) -> Generator[dict[str, Tensor], None, None]:
        with closing(self.source.batches(self.of, self._tokens(batch), seed, start)) as batches:
            for number, rows in enumerate(batches, start):
                yield self._mixed(sites, rows, batch, number)

    def heldout(self, sites: Sequence[str], rows: int) -> dict[str, Tensor] | None:
        held = self.source.heldout(self.of, self._tokens(rows))
        return None if held is None else self._mixed(sites, held, rows)

    def origin(self) -> dict[str, Any]:
        origin = self.source.origin()
        return {**origin, "hash": content_hash({"pooled": self.of, "of": origin["hash"]})}

    def _tokens(self, rows: int) -> int:
        return -(-rows // len(self.of))

    def _mixed(self, sites: Sequence[str], rows: dict[str, Tensor], most: int, number: int = 0) -> dict[str, Tensor]:
        """`most` rows; where the sites cannot have equally many, another one has fewer in every batch."""
        turn = number % len(self.of)
        order = self.of[turn:] + self.of[:turn]
        units = self.units
        mixed = torch.cat([(rows[s].float() - units[s].centre) * units[s].scale for s in order])[:most]
        return dict.fromkeys(sites, mixed)
