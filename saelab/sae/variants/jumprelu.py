"""JumpReLU SAE: a feature is on where its pre-activation exceeds a threshold of its own, which is trained.

    f     = pre 1[pre > theta],   pre = (x - b_dec) W_enc + b_enc,   theta = exp(log_threshold) > 0
    x_hat = f W_dec + b_dec
    loss  = mean |y - x_hat|^2 / d + l0 * mean L0                          (l0)
                               ... + target_weight * (mean L0 / target_l0 - 1)^2      (target_l0)
    L0    = sum_i 1[pre_i > theta_i]

Neither jump has a useful derivative in theta, so both get that of the jump smoothed by a rectangle of width eps:

    d f / d theta  = -(theta / eps) 1[|pre - theta| < eps / 2]        d f / d pre  = 1[pre > theta]
    d L0 / d theta =     -(1 / eps) 1[|pre - theta| < eps / 2]        d L0 / d pre = 0

The window is laid around the pre-activation: half of it is below theta, where f is already 0. The sparse path therefore
selects everything above theta - eps / 2. `bandwidth` and `initial_threshold` are in units of training, where a
coordinate, and with unit rows a pre-activation at the start, is about 1. Papers that train on billions of tokens use
far smaller ones (0.001 where rows have length 1, which is 0.024 here at d = 576); log theta then moves too slowly for
a run of minutes. On 150,000 planted rows (d = 64, d_sae = 512, target_l0 8, rate 6e-3) L0 ended at 163 with 0.008 for
both, at 16 with a threshold of 0.4 and a bandwidth of 1.6, and at 9.3 with a threshold of 1 and bandwidths 0.4 to 2.

Rajamanoharan et al. 2024, "Jumping ahead", eq. 5 to 12 and appendix J; Lieberum et al. 2024, "Gemma Scope".
"""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from saelab.contracts import Batch
from saelab.kernels.encode_select import Above
from saelab.kernels.jumprelu import heaviside, jumprelu
from saelab.sae.base import SAE, SAEConfig
from saelab.sae.parts import centred_linear, is_dense, warm_up
from saelab.sae.sparse import Sparse


class JumpReLUConfig(SAEConfig):
    variant: Literal["jumprelu"] = "jumprelu"
    l0: float = Field(1e-3, ge=0, description="Loss per active feature; not used when target_l0 is given.")
    target_l0: float | None = Field(None, gt=0, description="Active features per row to be held; null: use l0.")
    target_weight: float = Field(1.0, gt=0, description="Weight of the squared relative distance from target_l0.")
    bandwidth: float = Field(1.0, gt=0, description="Width eps of the window around the threshold.")
    initial_threshold: float = Field(1.0, gt=0, description="Threshold of every feature at the start.")
    warmup: float = Field(0.05, ge=0, le=1, description="Share of the steps over which the L0 term rises from 0.")


class JumpReLU(SAE):
    Config = JumpReLUConfig
    architectures = ("jumprelu", "jumprelu_transcoder", "jumprelu_skip_transcoder")
    cfg: JumpReLUConfig
    log_threshold: nn.Parameter  # [d_sae]

    def __init__(self, cfg: SAEConfig, generator: torch.Generator | None = None) -> None:
        super().__init__(cfg, generator)
        self.log_threshold = nn.Parameter(torch.full((cfg.d_sae,), self.cfg.initial_threshold).log())

    @property
    def threshold(self) -> Float[Tensor, "d_sae"]:
        """theta, in the units of the activations."""
        return self.log_threshold.exp()

    def sparse(self, x: Float[Tensor, "batch d_in"]) -> Sparse:
        """Active features only, so without the half of theta's window that lies below it."""
        return Sparse(*self.pre_activations(x, Above(self.threshold.detach())))

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        return jumprelu(self._dense_pre(x), self.threshold, self.cfg.bandwidth)

    def loss_terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        loss, active = self._dense(batch) if self._is_dense(batch.x) else self._sparse(batch)
        strength = warm_up(step, self.total_steps, self.cfg.warmup)
        return {
            "reconstruction": loss,
            "l0": strength * self._l0_loss(active / len(batch.x)),
        }

    def _l0_loss(self, l0: Float[Tensor, ""]) -> Float[Tensor, ""]:
        if self.cfg.target_l0 is None:
            return self.cfg.l0 * l0
        return self.cfg.target_weight * (l0 / self.cfg.target_l0 - 1).square()

    def _is_dense(self, x: Tensor) -> bool:
        return is_dense(x, self.W_enc, self.b_enc, self.centre, self.threshold.detach() - self.cfg.bandwidth / 2)

    def _dense_pre(self, x: Tensor) -> Tensor:
        return centred_linear(x.to(self.W_enc.dtype), self.centre, self.W_enc, self.b_enc)

    def _dense(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Reconstruction loss and number of active features, dense: early in training half the features fire."""
        pre, theta = self._dense_pre(batch.x), self.threshold
        f = jumprelu(pre, theta, self.cfg.bandwidth)
        self.count_fired((f > 0).any(dim=0), len(f))
        loss = self.reconstruction_loss(batch.y, self.decode(f, batch.x))
        return loss, heaviside(pre, theta, self.cfg.bandwidth).sum()

    def _sparse(self, batch: Batch) -> tuple[Tensor, Tensor]:
        pre, pattern = self.pre_activations(batch.x, Above(self.threshold.detach() - self.cfg.bandwidth / 2))
        theta = self.threshold[pattern.index]
        code = Sparse(jumprelu(pre, theta, self.cfg.bandwidth), pattern)
        self.count_fired(code.fired(), len(batch.x))
        return self.reconstruct(code, batch)[0], heaviside(pre, theta, self.cfg.bandwidth).sum()

    def scale_threshold(self, factor: float) -> None:
        self.log_threshold.add_(torch.tensor(factor).log())

    def exported(self) -> dict[str, Tensor]:
        return super().exported() | {"threshold": self.threshold.detach()}
