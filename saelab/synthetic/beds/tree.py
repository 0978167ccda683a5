"""Parents with exclusive children, orthonormal: where a sparse code gains by hiding a parent in its children.

Each parent fires with probability p; when it does, one of its children fires too with probability q, never two. A
latent that means "this child and its parent" saves one active latent per row: feature absorption. Whether an SAE
resists is seen in the parent's own latent while a child is on. Bed after N. Nabeshima's tree generator ("Matryoshka
sparse autoencoders", 2024).
"""

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from saelab.synthetic.beds.base import Bed, BedConfig


class TreeConfig(BedConfig):
    parents: int = Field(8, gt=0, description="Features without a parent.")
    children: int = Field(4, gt=0, description="Children of each, of which at most one fires.")
    d: int = Field(64, gt=0, description="Width of a row.")
    p: float = Field(0.15, gt=0, le=1, description="Probability that a parent fires.")
    q: float = Field(0.8, ge=0, le=1, description="Probability that one of its children then fires.")
    low: float = Field(1.0, ge=0, description="Least activation of a feature that fires.")
    high: float = Field(1.0, gt=0, description="Largest.")

    @model_validator(mode="after")
    def _fits(self) -> "TreeConfig":
        n = self.parents * (1 + self.children)
        if n > self.d:
            raise ValueError(f"{n} orthonormal features do not fit into d = {self.d}; raise d")
        return self


class Tree(Bed):
    """Features 0 .. parents - 1 are the parents; the children of parent i follow, c to a parent."""

    Config = TreeConfig
    cfg: TreeConfig

    def __init__(self, cfg: BedConfig) -> None:
        super().__init__(cfg)
        self.parent[self.cfg.parents :] = torch.arange(self.cfg.parents).repeat_interleave(self.cfg.children)

    def directions(self, random: torch.Generator) -> Float[Tensor, "n d"]:
        n = self.cfg.parents * (1 + self.cfg.children)
        return torch.linalg.qr(torch.randn(self.cfg.d, n, generator=random)).Q.t().contiguous()

    def activations(self, rows: int, random: torch.Generator) -> Float[Tensor, "rows n"]:
        cfg = self.cfg
        on = torch.rand(rows, cfg.parents, generator=random) < cfg.p
        with_child = on & (torch.rand(rows, cfg.parents, generator=random) < cfg.q)
        which = torch.randint(cfg.children, (rows, cfg.parents), generator=random)
        child = (which.unsqueeze(2) == torch.arange(cfg.children)) & with_child.unsqueeze(
            2
        )  # [rows, parents, children]
        fires = torch.cat([on, child.flatten(1)], dim=1)
        return fires * (cfg.low + (cfg.high - cfg.low) * torch.rand(rows, self.n, generator=random))
