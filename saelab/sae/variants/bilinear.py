"""Bilinear autoencoder: latents are quadratic in a row, and what they reproduce is the row's products with itself.

    u     = (x - mean) / |x - mean|,   f_j = (l_j . u)(r_j . u)        signed, all of them active
    X     = u u^T,   X_hat = sum_j g_j l_j r_j^T                       [d, d] each, never built
    loss  = mean |X - X_hat|^2 + hoyer * mean_j density_j
    |X - X_hat|^2 = |X|^2 - 2 sum_j f_j g_j + g^T G g                  G_ij = (l_i . l_j)(r_i . r_j): kernels/gram_form

    vanilla   g = f
    ordered   the mean of the first part over all prefixes of the latents: of the F prefixes F - max(i, j) hold both i
              and j (from 0), so with c_i = (F - i) / F a product of the two counts c_max(i, j) times
    mixed     g = D^T D f: through a bottleneck h = D f, the composites
    combined  mixed, over all prefixes of g

density_j is Hoyer's over the batch (saelab.metrics.hoyer_density). There is no x_hat: x and its mirror image in the
mean have one code. f has no unit, so folding moves the mean alone.

Dooms and Gauderis 2025, "Finding manifolds with bilinear autoencoders", with Muon; under Adam the mixed kinds want
train.beta2 = 0.99: with 0.999 the loss at times leaps above 10 late in a run (bed circle, d_sae 256, rates from 8e-3).
"""

import copy
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from saelab.contracts import Batch, Codes
from saelab.kernels.gram_form import gram_form
from saelab.metrics import hoyer_density
from saelab.sae.base import SAE, SAEConfig
from saelab.sae.parts import Normalisation, warm_up
from saelab.sae.sparse import Sparse

MIXED, ORDERED = ("mixed", "combined"), ("ordered", "combined")


class BilinearConfig(SAEConfig):
    variant: Literal["bilinear"] = "bilinear"
    kind: Literal["vanilla", "ordered", "mixed", "combined"] = Field("vanilla", description="What the latents are for.")
    bottleneck: int | None = Field(None, gt=0, description="Composites of the mixed kinds; null: 2 d_in, or d_sae / 2.")
    hoyer: float = Field(0.1, ge=0, description="Weight of the latents' mean Hoyer density.")
    warmup: float = Field(0.25, ge=0, le=1, description="Share of the steps over which hoyer rises from 0.")

    @model_validator(mode="after")
    def _of_products(self) -> "BilinearConfig":
        if self.transcoder or not self.apply_b_dec_to_input:
            raise ValueError(
                "a bilinear SAE reproduces the products of what it reads with itself: it has no b_dec and can be no "
                "transcoder; leave target, transcoder, d_out, skip and apply_b_dec_to_input out"
            )
        if self.bottleneck is not None and (self.kind not in MIXED or self.bottleneck > self.d_sae):
            raise ValueError(
                f"bottleneck = {self.bottleneck} with kind = {self.kind!r} and d_sae = {self.d_sae}: it is for kinds "
                "mixed and combined, and at most d_sae; leave it out, or lower it"
            )
        return self

    @property
    def composites(self) -> int:
        return self.bottleneck or max(1, min(2 * self.d_in, self.d_sae // 2))


class Bilinear(SAE):
    Config = BilinearConfig
    architectures = ("bilinear", "bilinear", "bilinear")  # SAELens has no such kind, and refuses the name
    has_encoder = reproduces_rows = False
    cfg: BilinearConfig
    left: nn.Parameter  # [d_sae, d_in]
    right: nn.Parameter  # [d_sae, d_in]
    down: nn.Parameter | None  # D, [composites, d_sae]
    mean: Tensor  # [d_in]; 0 in training, where rows come centred

    def make_weights(self, generator: torch.Generator | None) -> None:
        d, n, m = self.cfg.d_in, self.cfg.d_sae, self.cfg.composites
        shapes = ((n, d), (n, d), (m, n))
        made = [nn.Parameter(nn.init.orthogonal_(torch.empty(shape), generator=generator)) for shape in shapes]
        self.left, self.right, self.down = made[0], made[1], made[2] if self.cfg.kind in MIXED else None
        self.register_buffer("mean", torch.zeros(d))

    def unit(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_in"]:
        """u; 0 for a row that is the mean."""
        return F.normalize(x.to(self.left.dtype) - self.mean, dim=1)

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        return self._latents(self.unit(x))

    def _latents(self, u: Tensor) -> Tensor:
        return (u @ self.left.t()) * (u @ self.right.t())

    def sparse(self, x: Float[Tensor, "batch d_in"]) -> Sparse:
        f = self.encode(x)
        index = torch.arange(self.cfg.d_sae, device=f.device, dtype=torch.int32)
        return Sparse.of(Codes(index.expand(len(f), -1), f, self.cfg.d_sae))

    def strengths(self, f: Float[Tensor, "batch d_sae"]) -> Float[Tensor, "batch d_sae"]:
        """g: how much of each product l_j r_j^T stands in X_hat."""
        return f if self.down is None else f @ self.down.t() @ self.down

    def loss_terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        u = self.unit(batch.x)
        f = self._latents(u)
        self.count_fired((f != 0).any(dim=0), len(f))
        weight = self.cfg.hoyer * warm_up(step, self.total_steps, self.cfg.warmup)
        density = hoyer_density(f.abs().sum(dim=0), f.square().sum(dim=0), len(f))
        c = torch.arange(self.cfg.d_sae, 0, -1).to(f) / self.cfg.d_sae if self.cfg.kind in ORDERED else None
        return {"reconstruction": self._error(u, f, c) / len(f), "hoyer": weight * density.mean()}

    def _error(self, u: Tensor, f: Tensor, c: Tensor | None = None) -> Float[Tensor, ""]:
        """Sum over rows of |X - X_hat|^2; with `c` its mean over all prefixes of latents."""
        g = self.strengths(f)
        shared = f * g if c is None else f * g * c
        return _squares(u) - 2 * shared.sum() + gram_form(g, self.left, self.right, c)

    @torch.no_grad()
    def own_figures(self, x: Float[Tensor, "rows d_in"], batch: int) -> dict[str, float]:
        """`unexplained`: sum |X - X_hat|^2 / sum |X|^2 over all rows; `density`: the mean over all latents."""
        error, squares = 0.0, 0.0
        ones, twos = (torch.zeros(self.cfg.d_sae, dtype=torch.float64, device=x.device) for _ in range(2))
        for some in x.split(batch):
            u, f = self.unit(some), self.encode(some)
            error, squares = error + self._error(u, f).item(), squares + _squares(u).item()
            ones, twos = ones + f.abs().sum(dim=0), twos + f.square().sum(dim=0)
        return {"unexplained": error / squares, "density": hoyer_density(ones, twos, len(x)).mean().item()}

    def matrices(self) -> list[tuple[nn.Parameter, Tensor, bool]]:
        return []  # l_j and r_j may have any length, and their gradients come whole

    @torch.no_grad()
    def fold(self, normalisation: Normalisation) -> SAE:
        """This SAE for raw rows, in evaluation mode: the same latents. mean -> c + mean / s."""
        folded = copy.deepcopy(self)
        folded.mean.div_(normalisation.scale).add_(normalisation.centre.to(self.mean))
        return folded.eval()

    def exported(self) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in self.state_dict().items() if name != "tokens_since_fired"}

    @property
    def W_dec(self) -> nn.Parameter:  # type: ignore[override]
        """There is none, and whoever needs it, or decodes, is told so in words."""
        return self.require_rows("what was asked for")


def _squares(u: Float[Tensor, "batch d_in"]) -> Float[Tensor, ""]:
    """Sum over rows of |X|^2."""
    return u.square().sum(dim=1).square().sum()
