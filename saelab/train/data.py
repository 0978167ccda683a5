"""Where rows come from: one interface for a store and for a language model as it runs."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from saelab.contracts import canonical_site
from saelab.errors import ConfigError, SiteError
from saelab.store import Store
from saelab.train.config import TrainConfig

TOKENS = "tokens"  # the column of token ids, where a source has one
HELDOUT_SLICES = 16  # pieces that a held-out sample is made of: more documents than one stretch holds


@runtime_checkable
class RowSource(Protocol):
    """Rows of one or several sites, in an order that is a pure function of a seed."""

    sites: tuple[str, ...]

    def d(self, site: str) -> int:
        """Width of a row."""

    def rows(self) -> int | None:
        """Training rows of one epoch; None when the source does not know."""

    def sample(self, sites: Sequence[str], rows: int) -> dict[str, Tensor]:
        """`rows` training rows, fewer if there are fewer, the same on every call: to measure a normalisation on."""

    def batches(
        self, sites: Sequence[str], batch: int, seed: int, start: int = 0
    ) -> Generator[dict[str, Tensor], None, None]:
        """Batches from number `start` on, without end: for each site rows [batch, d] of the same tokens."""

    def heldout(self, sites: Sequence[str], rows: int) -> dict[str, Tensor] | None:
        """Up to `rows` rows of held-out documents, the same on every call; None when there are none."""

    def origin(self) -> dict[str, Any]:
        """What the rows were made of: `hash` names it; the rest goes into a checkpoint's metadata."""


@runtime_checkable
class WithGradients(Protocol):
    """A RowSource that also has gradients beside the rows of some sites, under `gradient_of(site)`."""

    gradient_sites: tuple[str, ...]


@runtime_checkable
class ThroughModel(RowSource, Protocol):
    """A RowSource of whole contexts that has the model as well. The column `TOKENS` holds token ids, [rows]."""

    tokens: int  # rows of a context; a batch is a multiple of it

    def counted(self, ids: Tensor) -> Tensor:
        """Which of the tokens [contexts, tokens] an SAE answers for."""

    def clean(self, ids: Tensor, behind: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """The model's logits [contexts, tokens, vocab] and its activations at the sites `behind`."""

    def through(
        self,
        ids: Tensor,
        site: str,
        values: Tensor,
        behind: Sequence[str],
        loss: Callable[[Tensor, Mapping[str, Tensor]], Tensor],
    ) -> Tensor:
        """d loss(logits, activations at `behind`) / d values, with `values` [contexts, tokens, d] at `site`."""


class StoreRows:
    """Rows of an activation store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.sites = tuple(store.sites)
        self.gradient_sites = store.gradient_sites

    def d(self, site: str) -> int:
        return self.store.d(site)

    def rows(self) -> int | None:
        return self.store.rows("train")

    def sample(self, sites: Sequence[str], rows: int) -> dict[str, Tensor]:
        """The first rows in the order of seed 0, in which every part of the store comes early."""
        with closing(self.batches(sites, min(rows, self.store.rows("train")), seed=0)) as batches:
            return next(batches)

    def batches(
        self, sites: Sequence[str], batch: int, seed: int, start: int = 0
    ) -> Generator[dict[str, Tensor], None, None]:
        yield from self.store.reader(sites, batch=batch, seed=seed).batches(start)

    def heldout(self, sites: Sequence[str], rows: int) -> dict[str, Tensor] | None:
        held = self.store.rows("heldout") if "heldout" in self.store.splits else 0
        if held == 0:
            return None
        ranges = slices(held, rows)
        return {site: torch.cat([self.store.read(site, "heldout", a, b) for a, b in ranges]) for site in sites}

    def origin(self) -> dict[str, Any]:
        model = self.store.model
        return {
            "hash": self.store.hash,
            "model_name": model.get("name"),
            "model_fingerprint": model.get("fingerprint"),
            "context_size": model.get("context"),
            "harvest": self.store.config,
        }


def rows_of(cfg: TrainConfig) -> StoreRows:
    """The store that `cfg` names."""
    if cfg.source == "live":
        raise ConfigError("source: live needs a language model: `saelab train` loads it; in Python pass a RowSource.")
    if cfg.source == "synthetic":
        raise ConfigError(
            "source: synthetic: `saelab train` makes the rows; in Python pass saelab.synthetic's SyntheticRows."
        )
    if cfg.store is None:
        raise ConfigError("store: name the activation store to train on, for example --set store=runs/demo/store")
    return StoreRows(Store.open(cfg.store))


def slices(held: int, rows: int) -> list[tuple[int, int]]:
    """Ranges of `rows` rows altogether, spread evenly over `held`; all of them when there are no more."""
    if held <= rows:
        return [(0, held)]
    pieces = min(HELDOUT_SLICES, rows)
    starts = [held * i // pieces for i in range(pieces)]
    sizes = [rows * (i + 1) // pieces - rows * i // pieces for i in range(pieces)]
    return [(start, start + size) for start, size in zip(starts, sizes, strict=True)]


def choose_site(source: RowSource, name: str | None, setting: str) -> str:
    """The canonical site that `setting` names; without a name, the only one there is."""
    listed = ", ".join(source.sites)
    if name is None and len(source.sites) == 1:
        return source.sites[0]
    if name is None:
        raise SiteError(f"the rows come from several sites: {listed}.\n  fix:   set {setting} to one of them")
    if canonical_site(name) not in source.sites:
        raise SiteError(f"{setting}: there are no rows of {canonical_site(name)}; there are rows of: {listed}")
    return canonical_site(name)
