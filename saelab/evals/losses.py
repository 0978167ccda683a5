"""What a model loses with SAEs in place, beside what it loses with their sites taken away; see `fidelity`."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saelab.errors import EvalError
from saelab.evals.heldout import Tokens
from saelab.intervene import replaced, sites, spliced
from saelab.lm import Edit, LanguageModel
from saelab.metrics import kl_divergence, recovered
from saelab.sae import SAE

Done = tuple[str, int | str]  # what is done to the model, and with which SAE or at which site


class Losses:
    """Loss and KL of the model as it is, with each SAE in place, and with each site at zero or its mean (`means`)."""

    def __init__(self, saes: Sequence[SAE], means: Mapping[str, Float[Tensor, "_"]], lm: LanguageModel) -> None:
        self.saes, self.means, self.lm = saes, means, lm
        self.n = 0
        self.ce: dict[Done, float] = defaultdict(float)
        self.kl: dict[Done, float] = defaultdict(float)

    def add(self, tokens: Tokens) -> None:
        pairs = tokens.counted[:, :-1] & tokens.counted[:, 1:]  # prediction at t of t + 1
        self.n += int(pairs.sum())
        clean = self.lm.logits(tokens.ids)
        self.ce["clean", ""] += _sum_loss(clean, tokens.ids, pairs)
        for name, edits in self._edits(tokens.counted):
            with self.lm.edited(edits):
                logits = self.lm.logits(tokens.ids)
            self.ce[name] += _sum_loss(logits, tokens.ids, pairs)
            self.kl[name] += _sum_kl(clean, logits, pairs)

    def _edits(self, counted: Bool[Tensor, "batch tokens"]) -> Iterator[tuple[Done, Mapping[str, Edit]]]:
        for site, mean in self.means.items():
            yield ("zero", site), replaced(site, torch.zeros_like(mean), counted)
            yield ("mean", site), replaced(site, mean, counted)
        for i, sae in enumerate(self.saes):
            yield ("spliced", i), spliced(sae, counted)

    def figures(self, i: int = 0) -> dict[str, Any]:
        """What `fidelity` says of the SAE with number i that needs the model. Raises EvalError without a prediction."""
        if not self.n:
            raise EvalError("the held-out contexts are too short: none has two counted tokens in a row")
        _, site = sites(self.saes[i])
        names: dict[str, Done] = {"spliced": ("spliced", i), "zero": ("zero", site), "mean": ("mean", site)}
        clean = self.ce["clean", ""]
        ce, kl = ({name: sums[key] for name, key in names.items()} for sums in (self.ce, self.kl))
        return {
            "predictions": self.n,
            "ce": clean / self.n,
            **{f"ce_{name}": total / self.n for name, total in ce.items()},
            **{f"kl_{name}": total / self.n for name, total in kl.items()},
            "ce_recovered": recovered(clean, ce["spliced"], ce["zero"]),
            "ce_recovered_mean": recovered(clean, ce["spliced"], ce["mean"]),
            "kl_recovered": recovered(0.0, kl["spliced"], kl["zero"]),
            "kl_recovered_mean": recovered(0.0, kl["spliced"], kl["mean"]),
        }


def _sum_loss(
    logits: Float[Tensor, "batch tokens vocab"], ids: Int[Tensor, "batch tokens"], pairs: Bool[Tensor, "batch pairs"]
) -> float:
    """Sum of the loss over counted predictions, one context at a time: a log-softmax is as large as its logits."""
    return sum(
        torch.nn.functional.cross_entropy(row[:-1][use].float(), following[use], reduction="sum").item()
        for row, following, use in zip(logits, ids[:, 1:], pairs, strict=True)
    )


def _sum_kl(
    clean: Float[Tensor, "batch tokens vocab"],
    other: Float[Tensor, "batch tokens vocab"],
    pairs: Bool[Tensor, "batch pairs"],
) -> float:
    """Sum of KL(clean || other) over counted predictions."""
    return sum(
        kl_divergence(a[:-1][use], b[:-1][use]).sum().item() for a, b, use in zip(clean, other, pairs, strict=True)
    )
