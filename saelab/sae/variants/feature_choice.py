"""Feature Choice SAE: every feature keeps a number of rows of the batch that is its own, so that none can die.

    training:   f[:, i] = the m_i largest of ReLU((x - b_dec) W_enc + b_enc)[:, i]     sum of m_i = batch * k, m_i >= 1
    inference:  f_i     = pre_i where pre_i > threshold_i, else 0
    loss        = mean |y - x_hat|^2 / d + aux * AuxK

m_i follows Zipf's law of the feature's rank by density, (rank + beta)^-alpha, rounded by largest remainder; `alpha: 0`
gives all features the same. What a feature keeps then fixes its density, and with it its rank: ranks must be found
before, so the first `mutual_first` of the steps are Mutual Choice's. A threshold is the running mean of its feature's
smallest kept value. In a batch of fewer than d_sae / k rows there is not one row for every feature; training on such is
refused.

Selection by columns holds nothing of the size batch * d_sae beyond the encoder's chunk (see
kernels/encode_select/by_column.py), but needs exact pre-activations: bf16 scores, which only bound them, are not used.

Ayonrinde 2024, "Adaptive sparse allocation with Mutual Choice & Feature Choice sparse autoencoders", arXiv 2411.02124,
without published code. Thresholds are this project's, and so are the switch and the law's numbers.
"""

from functools import cache
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from saelab.contracts import Batch
from saelab.kernels import encode_select as select
from saelab.sae.base import SAEConfig
from saelab.sae.sparse import Sparse
from saelab.sae.variants.batchtopk import newest_weight
from saelab.sae.variants.mutual_choice import MutualChoice, MutualChoiceConfig, ranking, zipf


class FeatureChoiceConfig(MutualChoiceConfig):
    variant: Literal["feature_choice"] = "feature_choice"  # type: ignore[assignment]
    mutual_first: float = Field(
        0.5, ge=0, le=1, description="Share of the steps, the first, in which features do not choose yet."
    )

    @property
    def least_batch(self) -> int:
        """Rows that a training batch must have: one for every feature."""
        return -(-self.d_sae // self.k)


class FeatureChoice(MutualChoice):
    Config: ClassVar[type[SAEConfig]] = FeatureChoiceConfig
    cfg: FeatureChoiceConfig
    times_kept: Tensor  # int64 [d_sae], batches in which a feature kept something

    def __init__(self, cfg: SAEConfig, generator: torch.Generator | None = None) -> None:
        super().__init__(cfg, generator)
        self.choosing = True
        self.register_buffer("running_threshold", torch.zeros(cfg.d_sae))
        self.register_buffer("times_kept", torch.zeros(cfg.d_sae, dtype=torch.int64))

    def sparse(self, x: Float[Tensor, "batch d_in"]) -> Sparse:
        if self.training and self.choosing:
            return Sparse(*self.pre_activations(x, select.FeatureChoice(self.quotas(len(x)))))
        return super().sparse(x)

    def quotas(self, rows: int) -> Int[Tensor, "d_sae"]:
        """m: how many of so many rows each feature keeps."""
        cfg = self.cfg
        by_rank = _by_rank(cfg.d_sae, cfg.alpha, cfg.beta, cfg.k * rows, rows).to(self.density.device)
        return torch.empty_like(by_rank).index_put_((ranking(self.density),), by_rank)

    def loss_terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        self.choosing = step >= self.cfg.mutual_first * (self.total_steps or 0)
        return super().loss_terms(batch, step)

    def learn_threshold(self, code: Sparse) -> None:
        index, values = code.pattern.index, code.values
        least = torch.full_like(self.running_threshold, torch.inf).scatter_reduce_(0, index, values, "amin")
        kept = least.isfinite()
        self.times_kept.add_(kept)
        weight = newest_weight(self.times_kept).to(least)
        self.running_threshold.copy_(self.running_threshold.lerp(least, weight).where(kept, self.running_threshold))


@cache
def _by_rank(n: int, alpha: float, beta: float, total: int, most: int) -> Int[Tensor, "n"]:
    return apportioned(zipf(n, alpha, beta), total, most)


def apportioned(shares: Float[Tensor, "n"], total: int, most: int) -> Int[Tensor, "n"]:
    """Whole numbers from 1 to `most` in proportion to `shares`, as far as these limits allow, that sum to `total`.

    What the limits take from some is shared by the others; then everyone gets the whole part, and who has the largest
    remainder one more. Where there is not 1 for everyone the first get it; where n * most is less, that is the sum.
    """
    n = len(shares)
    if total <= n:
        return (torch.arange(n) < total).long()
    total = min(total, n * most)
    low, high = 0.0, most / shares.min().item()
    for _ in range(100):  # as often as fp64 can be halved, and more
        middle = (low + high) / 2
        low, high = (middle, high) if (middle * shares).clamp(1, most).sum() < total else (low, middle)
    exact = (high * shares).clamp(1, most)
    whole = exact.floor().long()
    rest = total - int(whole.sum())
    whole[(exact - whole).argsort(descending=True, stable=True)[:rest]] += 1
    return whole
