"""Mutual Choice SAE: rows and features share one budget of batch * k activations, and no feature may be neglected.

    f    = the batch * k largest of ReLU((x - b_dec) W_enc + b_enc), wherever they are       BatchTopK's, bit for bit
    loss = mean |y - x_hat|^2 / d + aux * AuxK

What is new is whom AuxK trains. With `aux_on: dead` the dead features, as in BatchTopK. With `aux_on: underused` also
every feature that fires less than `underused` times as often as Zipf's law gives a feature of its rank (aux_zipf_loss):

    density_r < underused * k (r + beta)^-alpha / sum over s = 1..d_sae of (s + beta)^-alpha,    r its rank by density

Only who is trained changes, so `aux` weighs the same, and as `underused` goes to 0 this is AuxK on the dead. Densities
are running means: plain ones of the first 100 batches, during which only the dead are trained, then ones that forget
(0.99 per batch).

Ayonrinde 2024, "Adaptive sparse allocation with Mutual Choice & Feature Choice sparse autoencoders", arXiv 2411.02124,
without published code. `alpha` and `beta` are this project's: with alpha 1, densities of TopK SAEs (k = 32) are
likeliest at a beta of about 30 on pico (2048 features, R^2 .92) and at 50 on SmolLM2 (4608, R^2 .90; .80 at 30).
"""

from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from saelab.sae.base import SAEConfig
from saelab.sae.sparse import Sparse
from saelab.sae.variants.batchtopk import FORGET, BatchTopK, BatchTopKConfig


class MutualChoiceConfig(BatchTopKConfig):
    variant: Literal["mutual_choice"] = "mutual_choice"  # type: ignore[assignment]
    aux_on: Literal["dead", "underused"] = Field("dead", description="Features that AuxK trains.")
    underused: float = Field(
        0.1, gt=0, le=1, description="Share of what Zipf's law gives a rank, below which a feature is underused."
    )
    alpha: float = Field(1.0, ge=0, description="Exponent of Zipf's law, (rank + beta)^-alpha; 0: all features alike.")
    beta: float = Field(30.0, ge=0, description="What is added to the rank.")


class MutualChoice(BatchTopK):
    Config: ClassVar[type[SAEConfig]] = MutualChoiceConfig
    cfg: MutualChoiceConfig
    density: Tensor  # [d_sae], running share of rows on which a feature fires

    def __init__(self, cfg: SAEConfig, generator: torch.Generator | None = None) -> None:
        super().__init__(cfg, generator)
        self.register_buffer("density", torch.zeros(cfg.d_sae))

    def expected(self) -> Float[Tensor, "d_sae"]:
        """The density that Zipf's law gives each rank, most frequent first; k in all."""
        return zipf(self.cfg.d_sae, self.cfg.alpha, self.cfg.beta).to(self.density) * self.cfg.k

    def underused(self, density: Float[Tensor, "d_sae"]) -> Bool[Tensor, "d_sae"]:
        """Features of these densities that fire less than `underused` times as often as their rank should."""
        order = ranking(density)
        below = density[order] < self.cfg.underused * self.expected()
        return torch.zeros_like(below).index_put_((order,), below)

    def neglected(self) -> Bool[Tensor, "d_sae"]:
        dead = super().neglected()
        settled = self.cfg.aux_on == "underused" and bool(self.batches_seen >= 1 / FORGET)
        return dead | self.underused(self.density) if settled else dead

    @torch.no_grad()
    def observe(self, code: Sparse) -> None:
        super().observe(code)
        if self.training and len(code.values):
            fires = torch.bincount(code.pattern.index[code.values > 0], minlength=self.cfg.d_sae)
            weight = torch.clamp(1.0 / self.batches_seen, min=FORGET).to(self.density)
            self.density.lerp_(fires.to(self.density) / code.pattern.n_rows, weight)


def ranking(density: Float[Tensor, "n"]) -> Int[Tensor, "n"]:
    """Features by density, most frequent first; among equals the lowest first."""
    return density.argsort(descending=True, stable=True)


def zipf(n: int, alpha: float, beta: float) -> Float[Tensor, "n"]:
    """(rank + beta)^-alpha for ranks 1 to n, in shares that sum to 1; fp64."""
    weight = (torch.arange(1, n + 1, dtype=torch.float64) + beta).pow(-alpha)
    return weight / weight.sum()
