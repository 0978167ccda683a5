"""A point on a circle in a random plane, and a few sparse features beside it: a manifold that no direction stands for.

    x = radius (cos a e_1 + sin a e_2) + f features + noise,   a ~ U(0, 2 pi),   e_1, e_2 an orthonormal base of `plane`
    f_i ~ U(low, high) with probability p, else 0

True features are never negative, so the circle counts as four of them, of which two fire on a row: the half axes e_1,
e_2, -e_1, -e_2, in this order, before the others. What is sparse lies in random directions, at an angle to the plane.
"""

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from saelab.synthetic.beds.base import Bed, BedConfig, random_directions


class CircleConfig(BedConfig):
    d: int = Field(64, gt=1, description="Width of a row.")
    radius: float = Field(1.0, gt=0, description="Of the circle.")
    sparse: int = Field(12, ge=0, description="Features beside it.")
    p: float = Field(0.05, gt=0, le=1, description="Probability that one of those fires.")
    low: float = Field(0.5, ge=0, description="Least activation of one that fires.")
    high: float = Field(1.5, gt=0, description="Largest.")
    noise: float = Field(0.01, ge=0, description="Standard deviation of the noise in every coordinate.")


class Circle(Bed):
    Config = CircleConfig
    cfg: CircleConfig

    @property
    def plane(self) -> Float[Tensor, "2 d"]:
        """e_1 and e_2."""
        return self.features[:2]

    def directions(self, random: torch.Generator) -> Float[Tensor, "n d"]:
        axes = torch.linalg.qr(torch.randn(self.cfg.d, 2, generator=random)).Q.t()
        return torch.cat([axes, -axes, random_directions(self.cfg.sparse, self.cfg.d, random)])

    def activations(self, rows: int, random: torch.Generator) -> Float[Tensor, "rows n"]:
        cfg = self.cfg
        angle = 2 * torch.pi * torch.rand(rows, 1, generator=random)
        point = cfg.radius * torch.cat([angle.cos(), angle.sin()], dim=1)
        on = torch.rand(rows, cfg.sparse, generator=random) < cfg.p
        strength = cfg.low + (cfg.high - cfg.low) * torch.rand(rows, cfg.sparse, generator=random)
        return torch.cat([point.relu(), (-point).relu(), on * strength], dim=1)
