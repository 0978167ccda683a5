"""ReLU SAE with an L1 penalty: the first and plainest kind.

    f     = ReLU((x - b_dec) W_enc + b_enc)
    x_hat = f W_dec + b_dec
    loss  = mean |y - x_hat|^2 / d + l1 * mean sum_i f_i |W_dec_i| / sqrt(d)

Decoder rows have length 1, so the penalty cannot be evaded by long rows; sqrt(d) is the mean length of a row, so `l1`
means the same at every width. Its weight rises from 0 over the first `warmup` of the steps. With `target_l0` it is then
changed until the mean number of active features is that (see saelab/sae/target_l0.py), and `l1` is where it begins.

Bricken et al. 2023, "Towards monosemanticity"; Conerly et al. 2024, "Update on how we train SAEs" (warm-up, scaling).
"""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from saelab.contracts import Batch
from saelab.kernels.encode_select import Above
from saelab.sae.base import SAE, SAEConfig
from saelab.sae.parts import centred_linear, is_dense, warm_up
from saelab.sae.sparse import Sparse
from saelab.sae.target_l0 import TargetL0


class ReLUConfig(SAEConfig):
    variant: Literal["relu"] = "relu"
    l1: float = Field(0.1, ge=0, description="Weight of the L1 norm, in units of the mean row length.")
    target_l0: float | None = Field(None, gt=0, description="Active features per row to be held; null: l1 stays.")
    warmup: float = Field(0.05, ge=0, le=1, description="Share of the steps over which l1 rises from 0.")

    @model_validator(mode="after")
    def _can_reach(self) -> "ReLUConfig":
        if self.target_l0 is not None and self.l1 == 0:
            raise ValueError(
                f"target_l0 = {self.target_l0:g} is reached by changing l1, and l1 = 0 stays 0; leave l1 out"
            )
        return self


class ReLU(SAE):
    Config = ReLUConfig
    architectures = ("standard", "transcoder", "skip_transcoder")
    cfg: ReLUConfig

    def __init__(self, cfg: SAEConfig, generator: torch.Generator | None = None) -> None:
        super().__init__(cfg, generator)
        self.target = None if self.cfg.target_l0 is None else TargetL0(self.cfg.target_l0, self.cfg.l1)

    @property
    def rows_apart(self) -> bool:
        return self.target is None

    def sparse(self, x: Float[Tensor, "batch d_in"]) -> Sparse:
        return Sparse(*self.pre_activations(x, Above(0.0)))

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        return torch.relu(centred_linear(x.to(self.W_enc.dtype), self.centre, self.W_enc, self.b_enc))

    def loss_terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        loss, f = self._dense(batch) if self._is_dense(batch.x) else self._sparse(batch)
        strength = warm_up(step, self.total_steps, self.cfg.warmup)
        l1 = self.cfg.l1 if self.target is None else self.target.weight
        if self.target is not None and strength == 1:
            self.target.observe((f > 0).sum() / len(batch.x), self.total_steps)
        return {
            "reconstruction": loss,
            "l1": strength * l1 / self.cfg.d_in**0.5 * f.sum() / len(batch.x),
        }

    def _is_dense(self, x: Tensor) -> bool:
        return is_dense(x, self.W_enc, self.b_enc, self.centre, 0.0)

    def _dense(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Reconstruction loss and all activations, dense: early in training half the features fire."""
        f = self.encode(batch.x)
        self.count_fired((f > 0).any(dim=0), len(f))
        return self.reconstruction_loss(batch.y, self.decode(f, batch.x)), f

    def _sparse(self, batch: Batch) -> tuple[Tensor, Tensor]:
        code = self.sparse(batch.x)
        self.count_fired(code.fired(), len(batch.x))
        return self.reconstruct(code, batch)[0], code.values
