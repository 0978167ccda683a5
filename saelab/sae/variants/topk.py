"""TopK SAE: keep the k largest pre-activations of each row, so L0 <= k by construction.

    f     = TopK_k(ReLU((x - b_dec) W_enc + b_enc))
    x_hat = f W_dec + b_dec
    loss  = mean |y - x_hat|^2 / d + aux * AuxK

Where fewer than k pre-activations are positive the rest are zeros, which get no gradient and do not count as fired.
AuxK brings dead features back by having them explain the residual (see kernels/auxk).

Gao et al. 2024, "Scaling and evaluating sparse autoencoders", eq. 3, section 2.3 and appendix A.2.
"""

from typing import Any, ClassVar, Literal

from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor

from saelab.contracts import Batch
from saelab.kernels import encode_select as select
from saelab.kernels.auxk import auxk_loss
from saelab.sae.base import SAE, SAEConfig
from saelab.sae.sparse import Sparse


class AuxKConfig(SAEConfig):
    """What AuxK is asked, by every variant that has it."""

    aux: float = Field(1 / 32, ge=0, description="Weight of the AuxK term (Gao et al., A.2); 0 turns it off.")
    k_aux: int | None = Field(None, gt=0, description="Dead features used per row by AuxK; null: d_in / 2.")


class TopKConfig(AuxKConfig):
    variant: Literal["topk"] = "topk"
    k: int = Field(32, gt=0, description="Features kept per row.")

    @model_validator(mode="after")
    def _enough_features(self) -> "TopKConfig":
        if self.k > self.d_sae:
            raise ValueError(
                f"k = {self.k} features per row, but d_sae = {self.d_sae} is all there are; lower k or raise d_sae"
            )
        return self


class TopK(SAE):
    Config: ClassVar[type[SAEConfig]] = TopKConfig
    architectures = ("topk", "topk_transcoder", "topk_skip_transcoder")
    cfg: TopKConfig

    @property
    def rows_apart(self) -> bool:
        return type(self) is TopK  # what is built on it chooses otherwise

    def sparse(self, x: Float[Tensor, "batch d_in"]) -> Sparse:
        return Sparse(*self.pre_activations(x, select.TopK(self.cfg.k)))

    def loss_terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        code = self.sparse(batch.x)
        loss, error = self.reconstruct(code, batch)
        self.observe(code)
        return {"reconstruction": loss, "aux": self._aux(batch.x, error)}

    def observe(self, code: Sparse) -> None:
        """Keep count of what fired."""
        self.count_fired(code.fired(), code.pattern.n_rows)

    def neglected(self) -> Bool[Tensor, "d_sae"]:
        """Features that AuxK trains: the dead ones."""
        return self.tokens_since_fired >= self.dead_after

    def _aux(self, x: Tensor, error: Tensor) -> Tensor:
        dead = self.neglected()
        if self.cfg.aux == 0 or not dead.any():
            return error.new_zeros(())
        k = self.cfg.k_aux or max(1, self.cfg.d_in // 2)
        weights = self.W_enc, self.b_enc, self.W_dec
        x, scale = x.to(self.W_enc.dtype), -error.numel() / 2  # of the residual: error is its gradient
        return self.cfg.aux * auxk_loss(x, self.centre, error, scale, *weights, dead, k)

    def exported_settings(self) -> dict[str, Any]:
        return {"k": self.cfg.k, "rescale_acts_by_decoder_norm": False}
