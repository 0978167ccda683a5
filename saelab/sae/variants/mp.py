"""MP-SAE: one dictionary and no encoder. A row is pursued step by step, so that a feature explains what is left.

    r_0   = x - b_dec
    j_t   = argmax_j <r_{t-1}, W_dec[j]>,    f[j_t] += <r_{t-1}, W_dec[j_t]>,    r_t = r_{t-1} - <..> W_dec[j_t]
    x_hat = f W_dec + b_dec
    loss  = mean |y - x_hat|^2 / d

after k steps, or earlier: where |r_t| < tau, and with `stop_at_repeat` once a feature is taken again. In evaluation
there may be another number of steps. What is taken counts as a constant, and gradients go through all steps (see
kernels/matching_pursuit). A child's direction is found although its parent's, which is longer, is found first: features
that are only orthogonal given others are within reach.

A transcoder reads with a dictionary of its own, `W_read`, and writes f W_dec. W_enc is a view of whatever dictionary is
read with, and b_enc is zeros. Folding leaves the dictionaries alone: it moves centre and scale of the rows that are
read, (x - input_centre) input_scale, and tau.

Costa et al. 2025, "From flat to hierarchical: extracting sparse representations with matching pursuit".
"""

from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from saelab.contracts import Batch
from saelab.kernels.matching_pursuit import matching_pursuit
from saelab.sae.base import SAE, SAEConfig
from saelab.sae.nested import with_settings
from saelab.sae.parts import unit_rows
from saelab.sae.sparse import Sparse


class MPConfig(SAEConfig):
    variant: Literal["mp"] = "mp"
    k: int = Field(32, gt=0, description="Steps per row in training: features kept, or fewer where one is taken again.")
    steps: int | None = Field(None, gt=0, description="Steps per row in evaluation; null: k.")
    tau: float = Field(
        0.0,
        ge=0,
        description="Length of the residual below which a row is done; rows have mean length sqrt(d). 0: none.",
    )
    stop_at_repeat: bool = Field(False, description="A row is done once a feature is taken for the second time.")


class MP(SAE):
    Config: ClassVar[type[SAEConfig]] = MPConfig
    # SAELens has no transcoder of this kind, and refuses the other names.
    architectures = ("matching_pursuit", "matching_pursuit_transcoder", "matching_pursuit_skip_transcoder")
    has_encoder = False
    cfg: MPConfig
    W_read: nn.Parameter | None  # [d_sae, d_in], unit rows; None: W_dec
    input_centre: Tensor  # [d_in]
    input_scale: Tensor  # one number
    tau: Tensor  # one number

    def make_weights(self, generator: torch.Generator | None) -> None:
        super().make_weights(generator)
        cfg = self.cfg
        rows = unit_rows(torch.randn(cfg.d_sae, cfg.d_in, generator=generator)) if cfg.transcoder else None
        self.W_read = None if rows is None else nn.Parameter(rows)
        self.register_buffer("input_centre", torch.zeros(cfg.d_in))
        self.register_buffer("input_scale", torch.ones(()))
        self.register_buffer("tau", torch.tensor(cfg.tau))

    @property
    def dictionary(self) -> nn.Parameter:
        """What rows are pursued with, [d_sae, d_in]."""
        return self.W_dec if self.W_read is None else self.W_read

    @property
    def W_enc(self) -> Tensor:  # type: ignore[override]  # a view here, a parameter elsewhere
        return self.dictionary.t()

    @property
    def b_enc(self) -> Tensor:  # type: ignore[override]
        return self.W_dec.new_zeros(self.cfg.d_sae)

    @property
    def steps(self) -> int:
        """Steps per row, in training or evaluation, whichever it is."""
        return self.cfg.k if self.training else self.cfg.steps or self.cfg.k

    def with_steps(self, steps: int) -> "MP":
        """The same weights, not copied, with another number of steps in evaluation."""
        return with_settings(self, steps=steps)

    def pursued(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, "batch d_in"]:
        """r_0."""
        x = (x.to(self.W_dec.dtype) - self.input_centre) * self.input_scale
        return x if self.centre is None else x - self.centre

    @property
    def rows_apart(self) -> bool:
        return True

    def sparse(self, x: Float[Tensor, "batch d_in"]) -> Sparse:
        tau, repeat = float(self.tau), self.cfg.stop_at_repeat
        return Sparse(*matching_pursuit(self.pursued(x), self.dictionary, self.steps, tau, repeat))

    def loss_terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        code = self.sparse(batch.x)
        loss, _ = self.reconstruct(code, batch)
        self.count_fired(code.fired(), code.pattern.n_rows)
        return {"reconstruction": loss}

    def matrices(self) -> list[tuple[nn.Parameter, Tensor, bool]]:
        return [(W, W, True) for W in (self.W_read, self.W_dec) if W is not None]

    def fold_encoder(self, c: Float[Tensor, "d_in"] | None, scale: float, s_y: float) -> None:
        self.input_scale.mul_(scale)
        if c is not None:
            self.input_centre.copy_(c)

    def scale_threshold(self, factor: float) -> None:
        self.tau.mul_(factor)

    @property
    def architecture(self) -> str:
        """SAELens, told not to subtract b_dec, would not add it either: such a one it must not load."""
        own = super().architecture
        return own if self.cfg.transcoder or self.cfg.apply_b_dec_to_input else f"{own}_uncentred"

    def exported(self) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in super().exported().items() if name not in ("W_enc", "b_enc")}

    def exported_settings(self) -> dict[str, Any]:
        return {
            "residual_threshold": float(self.tau),
            "max_iterations": self.cfg.steps or self.cfg.k,
            "stop_on_duplicate_support": self.cfg.stop_at_repeat,
        }
