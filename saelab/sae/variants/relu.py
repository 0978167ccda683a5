"""ReLU SAE with an L1 penalty: the first and plainest kind.

    f     = ReLU((x - b_dec) W_enc + b_enc)
    x_hat = f W_dec + b_dec
    loss  = mean |y - x_hat|^2 / d + l1 * mean sum_i f_i |W_dec_i| / sqrt(d)

Decoder rows have length 1, so the penalty cannot be evaded by long rows; sqrt(d) is the mean length of a row, so `l1`
means the same at every width. Its weight rises from 0 over the first `warmup` of the steps.

Bricken et al. 2023, "Towards monosemanticity"; Conerly et al. 2024, "Update on how we train SAEs" (warm-up, scaling).
"""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from saelab.contracts import Batch
from saelab.kernels.encode_select import Above
from saelab.sae.base import SAE, SAEConfig
from saelab.sae.parts import centred_linear, is_dense, warm_up
from saelab.sae.sparse import Sparse


class ReLUConfig(SAEConfig):
    variant: Literal["relu"] = "relu"
    l1: float = Field(0.1, ge=0, description="Weight of the L1 norm, in units of the mean row length.")
    warmup: float = Field(0.05, ge=0, le=1, description="Share of the steps over which l1 rises from 0.")


class ReLU(SAE):
    Config = ReLUConfig
    architectures = ("standard", "transcoder", "skip_transcoder")
    cfg: ReLUConfig

    def sparse(self, x: Float[Tensor, "batch d_in"]) -> Sparse:
        return Sparse(*self.pre_activations(x, Above(0.0)))

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        return torch.relu(centred_linear(x.to(self.W_enc.dtype), self.centre, self.W_enc, self.b_enc))

    def loss_terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        loss, total = self._dense(batch) if self._is_dense(batch.x) else self._sparse(batch)
        weight = self.cfg.l1 * warm_up(step, self.total_steps, self.cfg.warmup) / self.cfg.d_in**0.5
        return {
            "reconstruction": loss,
            "l1": weight * total / len(batch.x),
        }

    def _is_dense(self, x: Tensor) -> bool:
        return is_dense(x, self.W_enc, self.b_enc, self.centre, 0.0)

    def _dense(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Reconstruction loss and the sum of all activations, dense: early in training half the features fire."""
        f = self.encode(batch.x)
        self.count_fired((f > 0).any(dim=0), len(f))
        return self.reconstruction_loss(batch.y, self.decode(f, batch.x)), f.sum()

    def _sparse(self, batch: Batch) -> tuple[Tensor, Tensor]:
        code = self.sparse(batch.x)
        self.count_fired(code.fired(), len(batch.x))
        return self.reconstruct(code, batch)[0], code.values.sum()
