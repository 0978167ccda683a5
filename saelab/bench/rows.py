"""Rows to time training on: a store's, pico's own harvested on the spot, or noise where there is nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.bench.workers import BenchError
from saelab.harvest import HarvestConfig
from saelab.harvest.live import LiveRows
from saelab.store import Store
from saelab.train import RowSource, StoreRows
from saelab.train.data import choose_site
from saelab.train.normalise import Normalisation

PICO_WIDTH, PICO_SITE = 256, "resid_post.2"
BYTES = 128 << 20  # of rows at most, in fp32: every worker keeps them in memory
ROWS, HELDOUT = 65_536, 8192
GAUSSIAN = "gaussian"


@dataclass(frozen=True, eq=False)
class Rows:
    """Normalised rows, in the order in which they will be trained on, and others to look at."""

    origin: str  # for people
    train: Float[Tensor, "rows d_in"]
    heldout: Float[Tensor, "heldout d_in"]

    @property
    def d_in(self) -> int:
        return self.train.shape[1]


def draw(name: str | None, site: str | None, d_in: int | None, batches: Sequence[int]) -> Rows:
    """Rows of the store `name`, of `gaussian`, or, for None, pico's where they have the width that is asked for."""
    if name == GAUSSIAN or (name is None and d_in not in (None, PICO_WIDTH)):
        width = d_in or PICO_WIDTH
        return _gaussian(width, _count(width, batches))
    return _of_source(name, site, d_in, batches)


def _count(width: int, batches: Sequence[int]) -> int:
    """As many as fit, and at least one batch."""
    return max(min(ROWS, BYTES // (4 * width)), *batches, HELDOUT)


def _gaussian(width: int, count: int) -> Rows:
    generator = torch.Generator().manual_seed(0)
    made = torch.randn(count + HELDOUT, width, generator=generator)
    return _normalised(f"Gaussian noise of width {width}: no real rows", made[:count], made[count:])


def _of_source(name: str | None, site: str | None, d_in: int | None, batches: Sequence[int]) -> Rows:
    source: RowSource
    if name is None:
        cfg = {"model": "pico", "sites": [site or PICO_SITE], "shard_rows": _count(PICO_WIDTH, batches)}
        source, what = LiveRows(HarvestConfig.model_validate(cfg)), "pico on the Python standard library"
    else:
        store = Store.open(Path(name))
        source, what = StoreRows(store), f"store {store.hash} of {store.model['name']}"
    place = choose_site(source, site, "--site")
    width = source.d(place)
    if d_in is not None and d_in != width:
        raise BenchError(
            f"--d-in {d_in}, but the rows of {what} have width {width}.\n"
            f"  fix:   leave --d-in out, or time on --rows {GAUSSIAN}"
        )
    train, heldout = _split(source, place, _count(width, batches))
    if len(train) < max(batches):
        raise BenchError(f"{what} has {len(train)} rows to train on, but a batch takes {max(batches)}.")
    return _normalised(f"{what}, {place}", train, heldout)


def _split(source: RowSource, place: str, count: int) -> tuple[Tensor, Tensor]:
    """`count` rows to train on, and held-out ones; where there are none, the last of a larger sample."""
    apart = source.heldout([place], HELDOUT)
    if apart is not None:
        return source.sample([place], count)[place], apart[place]
    rows = source.sample([place], count + HELDOUT)[place]
    cut = len(rows) - min(HELDOUT, len(rows) // 5)
    return rows[:cut], rows[cut:]


def _normalised(origin: str, train: Tensor, heldout: Tensor) -> Rows:
    normalisation = Normalisation.of(train, train)
    return Rows(origin, *(normalisation.batch(rows, rows).x for rows in (train, heldout)))
