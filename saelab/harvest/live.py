"""Rows straight from a language model as it runs: what `saelab train` reads with `source: live`, without a store.

The contexts of the corpus are cut into pools of `shard_rows` tokens; a pool is computed, shuffled and served, then the
next one, epoch after epoch. Which rows a pool holds follows from the text alone, so batch i is found again by reading
text, and only its own pool is computed.
"""

import sys
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from saelab.config import content_hash
from saelab.contracts import canonical_site
from saelab.corpora import open_corpus
from saelab.errors import CorpusError
from saelab.harvest.config import HarvestConfig
from saelab.harvest.cost import load_model, site_widths
from saelab.harvest.forward import shard_activations
from saelab.harvest.plan import ShardPlan, SplitPlan
from saelab.lm import LanguageModel
from saelab.store.layout import GRADIENT


class LiveRows:
    """A source of rows as training asks for one. `tokens`, `heldout_tokens` and `out` of `cfg` are not used."""

    def __init__(self, cfg: HarvestConfig, lm: LanguageModel | None = None) -> None:
        self.cfg = cfg.model_copy(update={"tokens": sys.maxsize, "heldout_tokens": sys.maxsize})
        self.lm = lm or load_model(cfg)
        self.widths = site_widths(cfg, self.lm)
        self.sites = tuple(self.widths)
        self.gradient_sites = self.sites if cfg.gradients else ()
        self.corpus = open_corpus(cfg.corpus)
        self._sampled: tuple[ShardPlan, dict[str, Tensor]] | None = None  # the first pool, which training begins with

    def d(self, site: str) -> int:
        return self.widths[canonical_site(site)]

    def rows(self) -> int | None:
        """Unknown before the whole corpus is read."""
        return None

    def sample(self, sites: Sequence[str], rows: int) -> dict[str, Tensor]:
        """`rows` rows of the first pool, drawn from all of it; all of them when there are no more."""
        first = next(self._pools("train"), None)
        if first is None:
            raise self._too_little(1)
        order = self._sampled_rows(first)[:rows]
        self._sampled = first, self._compute(first, sites)
        return {site: self._sampled[1][site][order] for site in sites}

    def batches(
        self, sites: Sequence[str], batch: int, seed: int, start: int = 0
    ) -> Generator[dict[str, Tensor], None, None]:
        """Batches from number `start` on, without end. The rows of a pool that fill no batch are left out."""
        pool, before = 0, 0
        while True:
            epoch_began = before
            for plan in self._pools("train"):
                count = plan.rows // batch
                if before + count > start:
                    acts = self._take_sampled(plan, sites) or self._compute(plan, sites)
                    order = self._order(plan, seed, pool)[: count * batch].split(batch)
                    for chosen in order[max(0, start - before) :]:
                        yield {site: acts[site][chosen] for site in sites}
                pool, before = pool + 1, before + count
            if before == epoch_began:
                raise self._too_little(batch)

    def heldout(self, sites: Sequence[str], rows: int) -> dict[str, Tensor] | None:
        """The first `rows` rows of held-out documents; None when there are no such documents."""
        parts: list[dict[str, Tensor]] = []
        found = 0
        for plan in self._pools("heldout"):
            parts.append(self._compute(plan, sites))
            found += plan.rows
            if found >= rows:
                break
        return {site: torch.cat([part[site] for part in parts])[:rows] for site in sites} if parts else None

    def origin(self) -> dict[str, Any]:
        request = {k: v for k, v in self.cfg.request().items() if k not in ("tokens", "heldout_tokens")}
        identity = {"live": request, "model": self.lm.fingerprint, "corpus": self.corpus.fingerprint()}
        return {
            "hash": content_hash(identity),
            "model_name": self.lm.name,
            "model_fingerprint": self.lm.fingerprint,
            "context_size": self.cfg.context or self.lm.context,
            "harvest": request,
        }

    def _pools(self, split: str) -> Iterator[ShardPlan]:
        return SplitPlan(self.corpus, split, self.lm, self.cfg).shards()

    def _take_sampled(self, plan: ShardPlan, sites: Sequence[str]) -> dict[str, Tensor] | None:
        """What the sample was drawn from, if `plan` is that pool; held until the first question only."""
        held, self._sampled = self._sampled, None
        same = held is not None and held[0].number == plan.number and set(held[1]) >= set(sites)
        return held[1] if held is not None and same else None

    def _compute(self, plan: ShardPlan, sites: Sequence[str]) -> dict[str, Tensor]:
        """Rows of these sites; `gradient_of(site)` counts as one, and takes the pass back."""
        cfg, read = self.cfg, list(dict.fromkeys(site.removesuffix(GRADIENT) for site in sites))
        return shard_activations(self.lm, plan, read, cfg.at_once, cfg.dtype, gradients=read != list(sites))

    def _order(self, plan: ShardPlan, seed: int, pool: int) -> Tensor:
        """In which order the pool's rows are served."""
        return permutation(plan.rows, seed, pool)

    def _sampled_rows(self, plan: ShardPlan) -> Tensor:
        """Rows of the first pool in the order in which a sample takes them."""
        return permutation(plan.rows, 0, 0)

    def _too_little(self, rows: int) -> CorpusError:
        return CorpusError(
            f"the corpus does not fill one batch of {rows} rows within a pool of {self.cfg.shard_rows}.\n"
            "  fix:   more text, a smaller train.batch, or a larger live.shard_rows"
        )


def permutation(rows: int, seed: int, pool: int) -> Tensor:
    """An order of so many: a pure function of the seed and the pool's number."""
    return torch.randperm(rows, generator=torch.Generator().manual_seed(seed * 1_000_003 + pool))
