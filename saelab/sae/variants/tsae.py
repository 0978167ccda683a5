"""TSAE: a threshold-activated SAE, whose features fire where their pre-activation exceeds one threshold, shared by all.

    f     = pre 1[pre > theta],   pre = (x - b_dec) W_enc + b_enc,   theta = exp(log_threshold) > 0
    x_hat = f W_dec + b_dec

Under the theory of atoms, units whose coherence is small enough for the sparsity of the rows are found by a one-layer
SAE with such an activation: what separates a unit that is there from the interference of the others is a gap, and a
threshold that lies in it. It is a JumpReLU (gradients, penalties and target are `jumprelu`'s) with `shared`, or without
it with a threshold for every feature; `penalty: l1` is the relu variant's, sum_i f_i / sqrt(d) at a weight of `l0`.

Hu et al. 2025, "Towards atoms of large language models", which leaves open whether the threshold is shared and which
penalty was used.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from saelab.sae.base import SAEConfig
from saelab.sae.variants.jumprelu import JumpReLU, JumpReLUConfig


class TSAEConfig(JumpReLUConfig):
    variant: Literal["tsae"] = "tsae"  # type: ignore[assignment]
    penalty: Literal["l0", "tanh", "l1"] = Field(  # type: ignore[assignment]
        "l0", description="What an active feature costs: 1, tanh(c f), or f / sqrt(d)."
    )
    shared: bool = Field(True, description="One threshold for all features; false: one for each.")


class TSAE(JumpReLU):
    Config = TSAEConfig
    cfg: TSAEConfig

    def __init__(self, cfg: SAEConfig, generator: torch.Generator | None = None) -> None:
        super().__init__(cfg, generator)
        if self.cfg.shared:
            self.log_threshold = nn.Parameter(self.log_threshold.detach()[0].clone())

    @property
    def threshold(self) -> Tensor:
        return self.log_threshold.exp().expand(self.cfg.d_sae)

    def cost(self, pre: Tensor, on: Tensor) -> Tensor:
        return pre * on / self.cfg.d_in**0.5 if self.cfg.penalty == "l1" else super().cost(pre, on)
