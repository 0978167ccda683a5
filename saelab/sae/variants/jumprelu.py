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

`penalty: tanh` counts an active feature by tanh(c f_i), decoder rows being of length 1, so that one barely on costs
less and is pushed down. It adds what brings dead features back: pre_act * mean sum over dead i of
ReLU(theta_i - pre_i). A target is then held by changing `l0`, where it begins (saelab/sae/target_l0.py).

Rajamanoharan et al. 2024, "Jumping ahead", eq. 5 to 12 and appendix J; Lieberum et al. 2024, "Gemma Scope"; tanh:
Conerly et al. 2025, "Dictionary learning optimization techniques" (c = 4, pre_act = 3e-6).
"""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from saelab.contracts import Batch
from saelab.kernels.csc import Pattern
from saelab.kernels.encode_select import Above
from saelab.kernels.jumprelu import heaviside, jumprelu
from saelab.sae.base import SAE, SAEConfig
from saelab.sae.parts import at_entries, centred_linear, is_dense, warm_up
from saelab.sae.sparse import Sparse
from saelab.sae.target_l0 import TargetL0


class JumpReLUConfig(SAEConfig):
    variant: Literal["jumprelu"] = "jumprelu"
    penalty: Literal["l0", "tanh"] = Field("l0", description="What an active feature costs: 1, or tanh(c f).")
    l0: float = Field(1e-3, ge=0, description="Loss per active feature; with target_l0 not used, or where tanh begins.")
    target_l0: float | None = Field(None, gt=0, description="Active features per row to be held; null: use l0.")
    target_weight: float = Field(1.0, gt=0, description="Weight of the squared relative distance from target_l0.")
    tanh_scale: float = Field(4.0, gt=0, description="c of the tanh penalty.")
    pre_act: float = Field(3e-6, ge=0, description="Weight of what revives dead features under the tanh penalty.")
    bandwidth: float = Field(1.0, gt=0, description="Width eps of the window around the threshold.")
    initial_threshold: float = Field(1.0, gt=0, description="Threshold of every feature at the start.")
    warmup: float = Field(0.05, ge=0, le=1, description="Share of the steps over which the L0 term rises from 0.")

    @model_validator(mode="after")
    def _can_reach(self) -> "JumpReLUConfig":
        if self.target_l0 is not None and self.penalty != "l0" and self.l0 == 0:
            raise ValueError(
                f"target_l0 = {self.target_l0:g} with penalty {self.penalty} is reached by changing l0, and l0 = 0 "
                "stays 0; leave l0 out"
            )
        return self


class JumpReLU(SAE):
    Config = JumpReLUConfig
    architectures = ("jumprelu", "jumprelu_transcoder", "jumprelu_skip_transcoder")
    cfg: JumpReLUConfig
    log_threshold: nn.Parameter  # [d_sae]

    def __init__(self, cfg: SAEConfig, generator: torch.Generator | None = None) -> None:
        super().__init__(cfg, generator)
        self.log_threshold = nn.Parameter(torch.full((cfg.d_sae,), self.cfg.initial_threshold).log())
        target = None if self.cfg.penalty == "l0" else self.cfg.target_l0
        self.target = None if target is None else TargetL0(target, self.cfg.l0)

    @property
    def threshold(self) -> Float[Tensor, "d_sae"]:
        """theta, in the units of the activations."""
        return self.log_threshold.exp()

    @property
    def rows_apart(self) -> bool:
        return type(self) is JumpReLU and self.cfg.penalty == "l0" and self.cfg.target_l0 is None

    def sparse(self, x: Float[Tensor, "batch d_in"]) -> Sparse:
        """Active features only, so without the half of theta's window that lies below it."""
        return Sparse(*self.pre_activations(x, Above(self.threshold.detach())))

    def encode(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_sae"]:
        return jumprelu(self._dense_pre(x), self.threshold, self.cfg.bandwidth)

    def forward(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_out"]:
        """x_hat; in training with theta's gradient."""
        return self.reproduce(self._windowed(x)[0], x) if self.training else super().forward(x)

    def loss_terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        loss, pre, pattern = self._dense(batch) if self._is_dense(batch.x) else self._sparse(batch)
        theta = self.threshold if pattern is None else at_entries(self.threshold, pattern)
        on, n = heaviside(pre, theta, self.cfg.bandwidth), len(batch.x)
        strength = warm_up(step, self.total_steps, self.cfg.warmup)
        terms = {"reconstruction": loss, self.cfg.penalty: strength * self._penalty(self.cost(pre, on).sum() / n)}
        if self.target is not None and strength == 1:
            self.target.observe(on.detach().sum() / n, self.total_steps)
        if self.cfg.penalty == "tanh":
            terms["pre_act"] = self.cfg.pre_act * self._below_threshold(batch.x)
        return terms

    def cost(self, pre: Tensor, on: Tensor) -> Tensor:
        """What each active feature costs; `on` carries the gradient of its jump in theta."""
        return on if self.cfg.penalty == "l0" else torch.tanh(self.cfg.tanh_scale * pre) * on

    def _penalty(self, cost: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """Of a row whose features cost this."""
        if self.target is not None:
            return self.target.weight * cost
        if self.cfg.target_l0 is None:
            return self.cfg.l0 * cost
        return self.cfg.target_weight * (cost / self.cfg.target_l0 - 1).square()

    def _below_threshold(self, x: Tensor) -> Float[Tensor, ""]:
        """Mean over rows of the sum over dead features of ReLU(theta - pre), from the mean row alone.

        This batch has been counted: what is still dead has pre <= theta on every row of it, where ReLU is linear.
        """
        dead = (self.tokens_since_fired >= self.dead_after).nonzero().squeeze(1)
        row = x.to(self.W_enc.dtype).mean(dim=0)
        row = row if self.centre is None else row - self.centre
        return (self.threshold[dead] - self.b_enc[dead] - self.W_enc.t()[dead] @ row).sum()

    def _is_dense(self, x: Tensor) -> bool:
        return is_dense(x, self.W_enc, self.b_enc, self.centre, self.threshold.detach() - self.cfg.bandwidth / 2)

    def _dense_pre(self, x: Tensor) -> Tensor:
        return centred_linear(x.to(self.W_enc.dtype), self.centre, self.W_enc, self.b_enc)

    def _dense(self, batch: Batch) -> tuple[Tensor, Tensor, None]:
        """Reconstruction loss and all pre-activations, dense: early in training half the features fire."""
        pre = self._dense_pre(batch.x)
        f = jumprelu(pre, self.threshold, self.cfg.bandwidth)
        self.count_fired((f > 0).any(dim=0), len(f))
        return self.reconstruction_loss(batch.y, self.decode(f, batch.x)), pre, None

    def _sparse(self, batch: Batch) -> tuple[Tensor, Tensor, Pattern]:
        code, pre = self._windowed(batch.x)
        self.count_fired(code.fired(), len(batch.x))
        return self.reconstruct(code, batch)[0], pre, code.pattern

    def _windowed(self, x: Tensor) -> tuple[Sparse, Tensor]:
        """The code and the pre-activations above the lower end of theta's window."""
        pre, pattern = self.pre_activations(x, Above(self.threshold.detach() - self.cfg.bandwidth / 2))
        return Sparse(jumprelu(pre, at_entries(self.threshold, pattern), self.cfg.bandwidth), pattern), pre

    def scale_threshold(self, factor: float) -> None:
        self.log_threshold.add_(torch.tensor(factor).log())

    def exported(self) -> dict[str, Tensor]:
        return super().exported() | {"threshold": self.threshold.detach()}
