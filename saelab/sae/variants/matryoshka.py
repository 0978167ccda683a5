"""Matryoshka SAE: the first features alone must reconstruct, then the first two groups, and so on to all of them.

    f       = BatchTopK_k(ReLU((x - b_dec) W_enc + b_enc))                        over all features
    x_hat_j = sum over features i < P_j of f_i W_dec_i + b_dec                    P_1 < ... < P_G = d_sae
    loss    = mean over j = 1..G of mean |y - x_hat_j|^2 / d + aux * AuxK         AuxK on what x_hat_G leaves over

A parent feature that hid in its children's decoder rows would be missing where the early groups reconstruct without
the children, so general features stay whole and come first. With one group this is BatchTopK, whose inference threshold
it also has. Evaluation may stop after the first `inference_groups`.

`prefixes: random` draws P_1 .. P_{G-1} anew for every batch, without repetition and with P(P_j <= n) ~ sqrt(n / d_sae);
`groups` then says how many there are, and where `inference_groups` cuts.

Bussmann et al. 2025, "Learning Multi-Level Features with Matryoshka Sparse Autoencoders", arXiv 2503.17547 (their code
adds |y - b_dec|^2 to the mean, which trains b_dec alone; the paper does not). N. Nabeshima 2024, "Matryoshka sparse
autoencoders" (random prefixes, Pareto power 0.5).
"""

from itertools import accumulate, pairwise
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from saelab.contracts import Batch
from saelab.kernels.nested_loss import prefix_levels
from saelab.sae.base import SAEConfig
from saelab.sae.nested import evenly, reconstruct_nested, with_settings
from saelab.sae.variants.batchtopk import BatchTopK, BatchTopKConfig

PARETO_POWER = 0.5
CLOSE = 1e-6  # to 1, for shares written as decimals


class MatryoshkaConfig(BatchTopKConfig):
    variant: Literal["matryoshka"] = "matryoshka"  # type: ignore[assignment]
    groups: tuple[float, ...] = Field(
        (1 / 16, 1 / 16, 1 / 8, 1 / 4, 1 / 2),
        min_length=1,
        description="Features of each group: shares that sum to 1, or numbers that sum to d_sae.",
    )
    prefixes: Literal["fixed", "random"] = Field(
        "fixed", description="Where reconstructions end: with the groups, or as many places drawn for every batch."
    )
    inference_groups: int | None = Field(None, gt=0, description="Groups used in evaluation, the first; null: all.")

    @model_validator(mode="after")
    def _groups_fit(self) -> "MatryoshkaConfig":
        total, shares = sum(self.groups), self._shares
        if not shares and (total != self.d_sae or any(size % 1 for size in self.groups)):
            raise ValueError(
                f"groups sum to {total:g}, and d_sae = {self.d_sae}; "
                "give shares that sum to 1, or whole numbers that sum to d_sae"
            )
        if any(end <= start for start, end in pairwise((0, *self.widths))):
            raise ValueError(
                f"groups {list(self.groups)} of d_sae = {self.d_sae} end at {list(self.widths)}, so that one is empty; "
                "give fewer or larger groups, or raise d_sae"
            )
        if self.inference_groups is not None and self.inference_groups > len(self.groups):
            raise ValueError(
                f"inference_groups = {self.inference_groups}, but there are {len(self.groups)} groups; "
                "lower it, or leave it out for all"
            )
        return self

    @property
    def _shares(self) -> bool:
        return abs(sum(self.groups) - 1) < CLOSE

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of the first group, of the first two, and so on to all."""
        whole = self.d_sae if self._shares else 1
        return tuple(round(end * whole) for end in accumulate(self.groups))


class Matryoshka(BatchTopK):
    Config: ClassVar[type[SAEConfig]] = MatryoshkaConfig
    cfg: MatryoshkaConfig

    def first(self, groups: int | None) -> "Matryoshka":
        """This SAE with the first `groups` groups alone in evaluation; weights shared."""
        return with_settings(self, inference_groups=groups)

    @property
    def threshold(self) -> Float[Tensor, "d_sae"]:
        """BatchTopK's; for features that evaluation leaves out, more than any activation."""
        return self._cut(super().threshold)

    def _cut(self, threshold: Float[Tensor, "d_sae"]) -> Float[Tensor, "d_sae"]:
        if self.cfg.inference_groups is None:
            return threshold
        kept = torch.arange(self.cfg.d_sae, device=threshold.device) < self.cfg.widths[self.cfg.inference_groups - 1]
        return threshold.where(kept, torch.finfo(threshold.dtype).max)

    def loss_terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        code, widths = self.sparse(batch.x), self._prefixes()
        level = prefix_levels(code.pattern, widths)
        loss, error = reconstruct_nested(self, code, level, evenly(widths), batch)
        self.observe(code)
        return {"reconstruction": loss, "aux": self._aux(batch.x, error)}

    def _prefixes(self) -> tuple[int, ...]:
        widths = self.cfg.widths
        return random_widths(self.cfg.d_sae, len(widths)) if self.cfg.prefixes == "random" else widths

    def exported(self) -> dict[str, Tensor]:
        tensors = super().exported()
        return tensors | {"threshold": self._cut(tensors["threshold"])}


def random_widths(n: int, count: int) -> tuple[int, ...]:
    """`count` ascending prefixes of n features, the last n. Drawn on the CPU: the same on every device."""
    if count == 1:
        return (n,)
    chance = (torch.arange(n, dtype=torch.float64) / n).pow(PARETO_POWER).diff()  # of 1, ..., n - 1
    drawn = torch.multinomial(chance, count - 1) + 1
    return (*sorted(drawn.tolist()), n)
