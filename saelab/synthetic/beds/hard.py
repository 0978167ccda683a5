"""Many features in few dimensions, unequally frequent, correlated, in trees: where architectures part.

    p_i       = least + (most - least) (i^-a - n^-a) / (1 - n^-a)        i = 1 .. n by rank: a Zipf law between bounds
    fires_i   = g_i above its (1 - p_i / p_parent) quantile, and the parent fires, and no sibling before it in a draw
    g         = loadings z + the rest, of variance 1                     rank 25: correlated through a Gaussian copula
    f_i       = max(0, mean_i + sd_i N(0, 1)) on firing, times f_parent / mean_parent under a parent

Ranks go down the trees, so that parents are more frequent than children. Directions are random and pushed apart by some
steps down the sum of squared cosines. The recipe is SynthSAEBench's, at an eighth of its features: n 2048 of 16,384, d
256 of 768, 32 roots of 128 (decoderesearch/SAELens, `sae_lens/synthetic`). There children fire when their own draw says
so and their parent fires; here the draw is of the conditional probability: a child is about as frequent as its rank,
less what its siblings take.
"""

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from saelab.synthetic.beds.base import Bed, BedConfig, generator, random_directions

FIXED = 3  # the seed's third use: frequencies, magnitudes, correlations
STEP, STEPS = 3e-4, 100  # SynthSAEBench's


class HardConfig(BedConfig):
    n: int = Field(2048, gt=0, description="True features.")
    d: int = Field(256, gt=0, description="Width of a row.")
    roots: int = Field(32, ge=0, description="Trees.")
    branching: int = Field(4, gt=0, description="Children of a parent, of which at most one fires.")
    levels: int = Field(3, gt=0, description="Levels of a tree, the root's included.")
    most: float = Field(0.4, gt=0, lt=1, description="Probability of the most frequent feature.")
    least: float = Field(5e-4, gt=0, lt=1, description="Of the rarest.")
    zipf: float = Field(0.5, gt=0, description="Exponent a of the law between them.")
    rank: int = Field(25, ge=0, description="Rank of the correlation.")
    correlation: float = Field(0.1, ge=0, description="Scale of its loadings.")
    bias: float = Field(0.5, ge=0, description="Length of what is added to every row.")


class Hard(Bed):
    Config = HardConfig
    cfg: HardConfig

    def __init__(self, cfg: BedConfig) -> None:
        super().__init__(cfg)
        fixed = generator(cfg.seed, FIXED)
        n, self.levels = self.cfg.n, self._plant()
        self.p = self._frequencies()
        self.mean = torch.linspace(5.0, 4.0, n)
        self.sd = (0.5 + 0.5 * torch.randn(n, generator=fixed)).abs()
        self.loadings = self.cfg.correlation * torch.randn(n, self.cfg.rank, generator=fixed)
        self.loadings /= self.loadings.norm(dim=1, keepdim=True).clamp_min(1.0)  # no feature is all correlation
        self.rest = (1 - self.loadings.square().sum(dim=1)).clamp_min(0).sqrt()
        self.bias = self.cfg.bias * random_directions(1, self.d, fixed)[0]

    def _plant(self) -> list[Tensor]:
        """Fill `parent`, breadth first; the features of each level below the roots."""
        levels, above, first = [], torch.arange(min(self.cfg.roots, self.n)), min(self.cfg.roots, self.n)
        for _ in range(self.cfg.levels - 1):
            own = torch.arange(first, min(self.n, first + len(above) * self.cfg.branching))
            self.parent[own] = above.repeat_interleave(self.cfg.branching)[: len(own)]
            levels.append(own)
            above, first = own, first + len(own)
        return levels

    def _frequencies(self) -> Float[Tensor, "n"]:
        """p_i, features in order of their rank."""
        cfg, n = self.cfg, self.n
        law = torch.arange(1, n + 1, dtype=torch.float64) ** -cfg.zipf
        share = (law - law[-1]) / (law[0] - law[-1]) if n > 1 else torch.ones(1, dtype=torch.float64)
        return (cfg.least + (cfg.most - cfg.least) * share).float()

    def directions(self, random: torch.Generator) -> Float[Tensor, "n d"]:
        W = random_directions(self.cfg.n, self.cfg.d, random)
        for _ in range(STEPS):
            cosines = (W @ W.t()).fill_diagonal_(0)
            W = W - STEP * 4 * cosines @ W
            W = W / W.norm(dim=1, keepdim=True)
        return W

    def activations(self, rows: int, random: torch.Generator) -> Float[Tensor, "rows n"]:
        z = torch.randn(rows, self.cfg.rank, generator=random)
        g = z @ self.loadings.t() + self.rest * torch.randn(rows, self.n, generator=random)
        child = self.parent >= 0
        conditional = torch.where(child, self.p / self.p[self.parent.clamp_min(0)], self.p)
        fires = g > torch.special.ndtri(1 - conditional.double()).float()
        f = (self.mean + self.sd * torch.randn(rows, self.n, generator=random)).clamp_min(0)
        for own in self.levels:
            above = self.parent[own]
            fires[:, own] = self._one_of_siblings(fires[:, own] & fires[:, above], random)
            f[:, own] *= f[:, above] / self.mean[above]
        return fires * f

    def _one_of_siblings(self, fires: Bool[Tensor, "rows own"], random: torch.Generator) -> Bool[Tensor, "rows own"]:
        """Of the siblings that fire, one at random."""
        own = fires.shape[1]
        whole = own // self.cfg.branching * self.cfg.branching  # a last parent may have fewer children: those all stay
        some = fires[:, :whole].unflatten(1, (-1, self.cfg.branching))
        lot = torch.rand(some.shape, generator=random).masked_fill(~some, -1.0)
        chosen = some & (lot == lot.amax(dim=2, keepdim=True))
        return torch.cat([chosen.flatten(1), fires[:, whole:]], dim=1)
