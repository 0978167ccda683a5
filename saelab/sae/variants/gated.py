"""Gated SAE: one linear map decides which features are on, another how strongly, so that L1 shrinks no activation.

    u     = (x - b_dec) W_enc
    gate  = u + b_gate                                     on where it is above 0; b_gate is stored as b_enc
    f     = 1[gate > 0] ReLU(exp(r_mag) u + b_mag)         the same W_enc, rescaled: tied weights
    x_hat = f W_dec + b_dec
    loss  = mean |y - x_hat|^2 / d + l1 * mean sum_i ReLU(gate_i) / sqrt(d)
            + mean |y - (ReLU(gate) W_dec' + b_dec')|^2 / d              W_dec', b_dec' without gradient

The step has no derivative, so the first term trains magnitudes and decoder alone; the gate learns from the last two,
and the last one cannot move the decoder towards activations that L1 has shrunk. A transcoder's skip connection gets no
gradient from it either. Decoder rows have length 1; `l1`, its warm-up and `target_l0` are the relu variant's.

A feature is on where u > max(-b_gate, -b_mag exp(-r_mag)), so this is a JumpReLU of exp(r_mag) u + b_mag with the
threshold max(b_mag - exp(r_mag) b_gate, 0): what transcoders are exported as, SAELens having gated autoencoders only.

Rajamanoharan et al. 2024, "Improving dictionary learning with gated sparse autoencoders", eq. 3 to 8 and appendix E.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from saelab.contracts import Batch
from saelab.kernels.csc import Pattern
from saelab.kernels.decode_loss import Reconstruction
from saelab.kernels.encode_select import Above
from saelab.kernels.sparse_encode import sparse_encode
from saelab.sae.base import SAE, SAEConfig
from saelab.sae.parts import at_entries, centred_linear, is_dense, warm_up
from saelab.sae.sparse import Sparse
from saelab.sae.target_l0 import TargetL0
from saelab.sae.variants.relu import ReLUConfig


class GatedConfig(ReLUConfig):
    variant: Literal["gated"] = "gated"  # type: ignore[assignment]


class Gated(SAE):
    Config = GatedConfig
    architectures = ("gated", "jumprelu_transcoder", "jumprelu_skip_transcoder")
    cfg: GatedConfig
    r_mag: nn.Parameter  # [d_sae]
    b_mag: nn.Parameter  # [d_sae]

    def __init__(self, cfg: SAEConfig, generator: torch.Generator | None = None) -> None:
        super().__init__(cfg, generator)
        self.r_mag, self.b_mag = nn.Parameter(torch.zeros(cfg.d_sae)), nn.Parameter(torch.zeros(cfg.d_sae))
        self.target = None if self.cfg.target_l0 is None else TargetL0(self.cfg.target_l0, self.cfg.l1)

    @property
    def rows_apart(self) -> bool:
        return self.target is None

    def sparse(self, x: Float[Tensor, "batch d_in"]) -> Sparse:
        on = torch.maximum(-self.b_enc, -self.b_mag * torch.exp(-self.r_mag))
        u, pattern = self._projections(x, on)
        return Sparse(self._magnitudes(u, pattern), pattern)

    def _projections(self, x: Tensor, above: Float[Tensor, "d_sae"]) -> tuple[Float[Tensor, "nz"], Pattern]:
        """u where it exceeds `above`."""
        products = self.products if self.training else None
        zero = torch.zeros_like(self.b_enc, requires_grad=False)
        return sparse_encode(x.to(self.W_enc.dtype), self.W_enc, zero, Above(above.detach()), self.centre, products)

    def _magnitudes(self, u: Float[Tensor, "nz"], pattern: Pattern) -> Float[Tensor, "nz"]:
        scale = at_entries(self.r_mag.exp(), pattern)
        return torch.relu(scale * u + at_entries(self.b_mag, pattern))

    def loss_terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        dense = is_dense(batch.x, self.W_enc, self.b_enc, self.centre, 0.0)
        terms, f, gate = self._dense(batch) if dense else self._sparse(batch)
        strength = warm_up(step, self.total_steps, self.cfg.warmup)
        l1 = self.cfg.l1 if self.target is None else self.target.weight
        if self.target is not None and strength == 1:
            self.target.observe((f > 0).sum() / len(batch.x), self.total_steps)
        return terms | {"l1": strength * l1 / self.cfg.d_in**0.5 * gate.sum() / len(batch.x)}

    def _dense(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Both reconstruction losses, f and ReLU(gate), dense: early in training half the gates are on."""
        u = centred_linear(batch.x.to(self.W_enc.dtype), self.centre, self.W_enc, torch.zeros_like(self.b_enc))
        gate = torch.relu(u + self.b_enc)
        f = torch.where(gate > 0, torch.relu(self.r_mag.exp() * u + self.b_mag), 0.0)
        self.count_fired((f > 0).any(dim=0), len(f))
        y, by_gate = self.wanted(batch), torch.addmm(self.b_dec.detach(), gate, self.W_dec.detach())
        loss = self.reconstruction_loss(y, f @ self.W_dec + self.b_dec)
        return {"reconstruction": loss, "gate": self.reconstruction_loss(y.detach(), by_gate)}, f, gate

    def _sparse(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        u, pattern = self._projections(batch.x, -self.b_enc)
        gate, code = u + at_entries(self.b_enc, pattern), Sparse(self._magnitudes(u, pattern), pattern)
        self.count_fired(code.fired(), len(batch.x))
        y, frozen = self.wanted(batch).detach(), (self.W_dec.detach(), self.b_dec.detach())
        by_gate, _ = Reconstruction.apply(gate, *frozen, y, pattern, 1 / y.numel())
        return {"reconstruction": self.reconstruct(code, batch)[0], "gate": by_gate}, code.values, gate

    @torch.no_grad()
    def fold_encoder(self, c: Float[Tensor, "d_in"] | None, scale: float, s_y: float) -> None:
        super().fold_encoder(c, scale, s_y)
        self.b_mag.div_(s_y)
        if c is not None:
            self.b_mag.sub_(self.r_mag.exp() * (c @ self.W_enc))

    @property
    def restated(self) -> frozenset[str]:
        return frozenset({"W_enc", "b_enc"} if self.cfg.transcoder else ())

    def exported(self) -> dict[str, Tensor]:
        tensors, r, b_mag = super().exported(), self.r_mag.detach(), self.b_mag.detach()
        b_gate = tensors.pop("b_enc")
        if not self.cfg.transcoder:
            return tensors | {"b_gate": b_gate, "b_mag": b_mag, "r_mag": r}
        threshold = torch.relu(b_mag - r.exp() * b_gate)
        return tensors | {"W_enc": tensors["W_enc"] * r.exp(), "b_enc": b_mag, "threshold": threshold}
