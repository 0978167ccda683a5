"""Whole contexts straight from a language model as it runs, for what looks at the tokens before (Lorsa).

As saelab.harvest.live, but a row is every token of a context, BOS and other special tokens included, in their order;
contexts are what is shuffled. Contexts shorter than `context` tokens, the ends of documents, are left out; with
packing: concat there are none but the last.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from jaxtyping import Int
from torch import Tensor

from saelab.corpora import Context
from saelab.errors import CorpusError
from saelab.harvest.config import HarvestConfig
from saelab.harvest.live import LiveRows, permutation
from saelab.harvest.plan import ShardPlan, context_length
from saelab.lm import LanguageModel


class LiveSequences(LiveRows):
    """A source of sequences as training asks for one."""

    def __init__(self, cfg: HarvestConfig, lm: LanguageModel | None = None) -> None:
        super().__init__(cfg, lm)
        self.tokens = context_length(self.cfg, self.lm)
        self.lead = 0 if self.lm.bos is None else 1

    def heldout(self, sites: Sequence[str], rows: int) -> dict[str, Tensor] | None:
        """Contexts of held-out documents, of about `rows` rows."""
        return super().heldout(sites, max(1, rows // self.tokens) * self.tokens)

    def _pools(self, split: str) -> Iterator[ShardPlan]:
        return (_whole(plan, full) for plan in super()._pools(split) if (full := self._full(plan)))

    def _full(self, plan: ShardPlan) -> list[Context]:
        return [context for context in plan.contexts if len(context.ids) == self.tokens]

    def _order(self, plan: ShardPlan, seed: int, pool: int) -> Int[Tensor, "rows"]:
        """Contexts shuffled, tokens not."""
        contexts = permutation(plan.rows // self.tokens, seed, pool)
        return (contexts.unsqueeze(1) * self.tokens + torch.arange(self.tokens)).flatten()

    def _sampled_rows(self, plan: ShardPlan) -> Int[Tensor, "rows"]:
        """Tokens of all contexts, without the first ones."""
        order = permutation(plan.rows, 0, 0)
        return order[order % self.tokens >= self.lead]

    def _too_little(self, rows: int) -> CorpusError:
        return CorpusError(
            f"no pool of {self.cfg.shard_rows} tokens holds {rows} rows of whole contexts of {self.tokens} tokens.\n"
            "  fix:   longer documents, live.packing: concat, a smaller live.context or train.batch, or a larger "
            "live.shard_rows"
        )


def _whole(plan: ShardPlan, contexts: list[Context]) -> ShardPlan:
    """The plan in which every token of these contexts is a row."""
    length = len(contexts[0].ids)
    of = torch.arange(len(contexts)).repeat_interleave(length)
    return replace(plan, contexts=contexts, of=of, at=torch.arange(length).repeat(len(contexts)))
