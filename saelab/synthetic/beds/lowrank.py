"""Easy's features within a few of the dimensions: rows as attention writes them, where most directions never matter.

    x = f F U,    U [rank, d] orthonormal and random, F [n, rank] random unit directions

Wang et al. 2025, "Attention layers add into low-dimensional residual subspaces".
"""

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from saelab.synthetic.beds.base import random_directions
from saelab.synthetic.beds.easy import Easy, EasyConfig


class LowRankConfig(EasyConfig):
    n: int = Field(512, gt=0, description="True features.")
    d: int = Field(32, gt=0, description="Width of a row.")
    rank: int = Field(12, gt=0, description="Dimensions that the features lie in.")
    p: float = Field(0.02, gt=0, le=1, description="Probability that a feature fires.")

    @model_validator(mode="after")
    def _fits(self) -> "LowRankConfig":
        if self.rank > self.d:
            raise ValueError(f"rank {self.rank} does not fit into d = {self.d}; lower rank")
        return self


class LowRank(Easy):
    Config = LowRankConfig
    cfg: LowRankConfig

    def directions(self, random: torch.Generator) -> Float[Tensor, "n d"]:
        U = torch.linalg.qr(torch.randn(self.cfg.d, self.cfg.rank, generator=random)).Q.t()
        return random_directions(self.cfg.n, self.cfg.rank, random) @ U
