"""Independent features, twice as many as dimensions, hardly any noise: what any SAE must be able to find.

f_i ~ U(low, high) with probability p, else 0;    p n active on average: 8 of 256
"""

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from saelab.synthetic.beds.base import Bed, BedConfig, random_directions


class EasyConfig(BedConfig):
    n: int = Field(256, gt=0, description="True features.")
    d: int = Field(128, gt=0, description="Width of a row.")
    p: float = Field(0.03, gt=0, le=1, description="Probability that a feature fires.")
    low: float = Field(0.5, ge=0, description="Least activation of a feature that fires.")
    high: float = Field(1.5, gt=0, description="Largest.")
    noise: float = Field(0.01, ge=0, description="Standard deviation of the noise in every coordinate.")


class Easy(Bed):
    Config = EasyConfig
    cfg: EasyConfig

    def directions(self, random: torch.Generator) -> Float[Tensor, "n d"]:
        return random_directions(self.cfg.n, self.cfg.d, random)

    def activations(self, rows: int, random: torch.Generator) -> Float[Tensor, "rows n"]:
        drawn = torch.rand(rows, self.n, generator=random) / self.cfg.p  # below 1 where a feature fires: even there
        return (drawn < 1) * (self.cfg.low + (self.cfg.high - self.cfg.low) * drawn)
