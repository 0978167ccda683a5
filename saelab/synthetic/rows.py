"""A bed's rows as the trainer reads them, and as an activation store."""

import hashlib
import json
from collections.abc import Generator, Sequence
from typing import Any

from torch import Tensor

from saelab.contracts import canonical_site
from saelab.store import gradient_of
from saelab.synthetic.beds import BEDS
from saelab.synthetic.beds.base import Bed, Sample

SITE = canonical_site("resid_post.0")  # synthetic rows come from nowhere; every tool knows this name
SAMPLE, HELDOUT, FIRST = 0, 1, 2  # draws that are never trained on; batch i of order seed s is FIRST + i of s


class SyntheticRows:
    """A RowSource (saelab.train) without end: batch i is drawn when it is asked for, always the same."""

    sites: tuple[str, ...] = (SITE,)

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        self.gradient_sites = self.sites if bed.has_loss else ()

    def d(self, site: str) -> int:
        return self.bed.d

    def rows(self) -> int | None:
        return None

    def sample(self, sites: Sequence[str], rows: int) -> dict[str, Tensor]:
        return self._named(sites, self.bed.draw(rows, SAMPLE))

    def batches(
        self, sites: Sequence[str], batch: int, seed: int, start: int = 0
    ) -> Generator[dict[str, Tensor], None, None]:
        number = start
        while True:
            yield self._named(sites, self.bed.draw(batch, FIRST + (seed << 32) + number))
            number += 1

    def heldout(self, sites: Sequence[str], rows: int) -> dict[str, Tensor] | None:
        return self._named(sites, self.bed.draw(rows, HELDOUT))

    def _named(self, sites: Sequence[str], sample: Sample) -> dict[str, Tensor]:
        """The rows, and under `gradient_of(SITE)` their gradients."""
        rows = {SITE: sample.x} | ({} if sample.gradient is None else {gradient_of(SITE): sample.gradient})
        return {site: rows[site] for site in sites}

    def origin(self) -> dict[str, Any]:
        settings = {"bed": name_of(self.bed), **self.bed.cfg.model_dump(mode="json")}
        text = json.dumps(settings, sort_keys=True)
        return {
            "hash": hashlib.sha256(text.encode()).hexdigest()[:16],
            "model_name": f"synthetic-{settings['bed']}",
            "model_fingerprint": None,
            "context_size": None,
            "harvest": settings,
        }


def name_of(bed: Bed) -> str:
    """Its key in BEDS."""
    return next(name for name, kind in BEDS.items() if type(bed) is kind)
