"""Whole contexts with the model at hand: what end-to-end training reads (saelab.train.end_to_end).

Rows as in saelab.harvest.sequences, with the token ids as a column of their own. Tokens count unless they are BOS or
another special token: samples and held-out rows are of counted tokens only.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saelab.harvest.plan import ShardPlan
from saelab.harvest.sequences import LiveSequences
from saelab.lm import Edit

TOKENS = "tokens"  # the column's name
Loss = Callable[[Tensor, Mapping[str, Tensor]], Tensor]


class LiveContexts(LiveSequences):
    """A source of contexts as training asks for one, and the model that reads them."""

    def counted(self, ids: Int[Tensor, "contexts tokens"]) -> Bool[Tensor, "contexts tokens"]:
        """Tokens that an SAE answers for."""
        special = torch.tensor(sorted(self.lm.special), device=ids.device, dtype=ids.dtype)
        places = torch.arange(ids.shape[1], device=ids.device)
        return (places >= self.lead) & ~torch.isin(ids, special)

    def clean(
        self, ids: Int[Tensor, "contexts tokens"], behind: Sequence[str]
    ) -> tuple[Float[Tensor, "contexts tokens vocab"], dict[str, Float[Tensor, "contexts tokens _"]]]:
        """The model's logits, and its activations at `behind`."""
        acts = self.lm.activations(ids, behind) if behind else {}
        return self.lm.logits(ids).clone(), {site: found.float() for site, found in acts.items()}

    def through(
        self,
        ids: Int[Tensor, "contexts tokens"],
        site: str,
        values: Float[Tensor, "contexts tokens d"],
        behind: Sequence[str],
        loss: Loss,
    ) -> Float[Tensor, "contexts tokens d"]:
        """d loss(logits, activations at `behind`) / d values, with `values` at `site`."""
        read: dict[str, Tensor] = {}

        def keeping(name: str) -> Edit:
            def keep(x: Tensor, start: int) -> Tensor:
                read[name] = x.float()
                return x

            return keep

        edits: dict[str, Edit] = {site: lambda x, start: values.to(x), **{name: keeping(name) for name in behind}}
        return self.lm.gradient(ids, site, lambda logits: loss(logits, read), edits).float()

    def heldout(self, sites: Sequence[str], rows: int) -> dict[str, Tensor] | None:
        """Counted tokens of contexts of held-out documents, about `rows` of them."""
        held = super().heldout([*sites, TOKENS], rows)
        if held is None:
            return None
        keep = self.counted(held[TOKENS].view(-1, self.tokens)).flatten()
        return {site: held[site][keep] for site in sites}

    def _compute(self, plan: ShardPlan, sites: Sequence[str]) -> dict[str, Tensor]:
        ids = torch.tensor([context.ids for context in plan.contexts])
        return super()._compute(plan, [site for site in sites if site != TOKENS]) | {TOKENS: ids.flatten()}

    def _sampled_rows(self, plan: ShardPlan) -> Int[Tensor, "rows"]:
        order = super()._sampled_rows(plan)
        ids = torch.tensor([context.ids for context in plan.contexts])
        return order[self.counted(ids).flatten()[order]]
