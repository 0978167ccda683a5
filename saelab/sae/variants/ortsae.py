"""OrtSAE: BatchTopK whose decoder rows are kept apart, so that a feature cannot hide in a near copy of another.

    loss   = BatchTopK's + gamma * L_orth
    L_orth = mean over features i of max over j != i in i's chunk of cos(W_dec_i, W_dec_j)^2

Features are dealt out at random over chunks of `chunk`, anew every time, so the cost is d_sae * chunk * d and linear in
d_sae. It is computed in every `every`-th step only, and weighs `every` times as much there (so metrics.jsonl shows it):
`gamma` means the same whatever `every` is. Where the reconstruction loss is mean |x - x_hat|^2 in the units of x, a
weight g corresponds to gamma = g / (mean |x - mean of x|)^2 here, as rows are scaled to a mean length of sqrt(d) and
the loss is divided by d. On 240,000 rows of pico (2048 features, k 32, one seed) a gamma of 0.25 brought the mean
largest cosine from .278 to .220 at 1 % more FVU, 1 to .218 at 7 % more; the synthetic tree needs 1.

The nearest rows are found block by block without gradients; L_orth is then a sum over d_sae pairs. gamma 0 is
BatchTopK, bit for bit. Dealing out depends on the number of the step alone, so a run repeats itself.

Korznikov et al. 2025, "OrtSAE: orthogonal sparse autoencoders uncover atomic features", arXiv 2509.22033.
"""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from saelab.contracts import Batch
from saelab.kernels.workspace import workspace
from saelab.sae.base import SAEConfig
from saelab.sae.variants.batchtopk import BatchTopK, BatchTopKConfig

BLOCK = 1 << 22  # cosines that exist at once: 16 MB


class OrtSAEConfig(BatchTopKConfig):
    variant: Literal["ortsae"] = "ortsae"  # type: ignore[assignment]
    gamma: float = Field(0.25, ge=0, description="Weight of the squared cosine with the nearest feature; 0: BatchTopK.")
    chunk: int = Field(1024, gt=1, description="Features among which the nearest is looked for.")
    every: int = Field(10, gt=0, description="Steps from one time to the next.")


class OrtSAE(BatchTopK):
    Config: ClassVar[type[SAEConfig]] = OrtSAEConfig
    cfg: OrtSAEConfig

    def loss_terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        terms = super().loss_terms(batch, step)
        return terms | {"orthogonality": self._orthogonality(step)} if self.cfg.gamma else terms

    def _orthogonality(self, step: int) -> Float[Tensor, ""]:
        cfg = self.cfg
        if (step + 1) % cfg.every or cfg.d_sae == 1:  # counted so that metrics.jsonl, written after the step, shows it
            return self.W_dec.new_zeros(())
        nearest = nearest_in_chunks(self.W_dec.detach(), dealt_out(cfg.d_sae, cfg.chunk, step, self.W_dec.device))
        cosines = (self.W_dec * F.embedding(nearest, self.W_dec)).sum(dim=1)  # rows have length 1
        return cfg.gamma * cfg.every * cosines.square().mean()


def dealt_out(n: int, chunk: int, step: int, device: torch.device) -> tuple[Tensor, ...]:
    """n features at random in chunks of equal size, give or take one, the same for the same step."""
    random = torch.Generator(device).manual_seed(step)
    return torch.randperm(n, generator=random, device=device).tensor_split(-(-n // chunk))


@torch.no_grad()
def nearest_in_chunks(W: Float[Tensor, "n d"], chunks: tuple[Tensor, ...]) -> Int[Tensor, "n"]:
    """For each row of W the other one of its chunk whose |cosine| with it is largest; W has unit rows."""
    nearest = torch.empty(len(W), dtype=torch.int64, device=W.device)
    for chunk in chunks:
        rows, size = W[chunk], max(1, BLOCK // len(chunk))
        for start in range(0, len(chunk), size):
            some = rows[start : start + size]
            cosines = workspace.take(len(some), len(chunk), W.device, W.dtype, "cosines")
            torch.mm(some, rows.t(), out=cosines).abs_().diagonal(start).fill_(-1.0)  # itself
            nearest[chunk[start : start + size]] = chunk[cosines.argmax(dim=1)]
    return nearest
