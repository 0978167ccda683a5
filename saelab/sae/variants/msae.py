"""MSAE, Matryoshka in sparsity: the k0 largest activations must reconstruct, the 2 k0 largest, and so on to all.

    f       = ReLU((x - b_dec) W_enc + b_enc)
    x_hat_m = TopK_{k_m}(f) W_dec + b_dec                                  k_m = k0, 2 k0, 4 k0, ..., d_sae
    loss    = sum over m of alpha_m mean |y - x_hat_m|^2 / d / sum of alpha

    alpha   = 1, ..., 1 (uniform, UW)    or    M, M - 1, ..., 1 (reverse, RW: the smallest code weighs most)

Evaluation keeps all of f, the last code, so how many features are active is not set but found: the smaller codes leave
the weakest nothing to add. `inference_k` cuts it to the k largest. The paper divides each row's error by the row's own
variance; here rows have mean length sqrt(d) and all of them the same weight, as in every other variant.

The last code has every feature above 0, half of them at first and a fifth later, so a step costs many times TopK's.
Each active entry is still fetched once for all codes (kernels/nested_loss).

Zaigrajew et al. 2025, "Interpreting CLIP with Hierarchical Sparse Autoencoders", arXiv 2502.20578, section 3.
"""

from typing import Any, ClassVar, Literal

from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from saelab.contracts import Batch
from saelab.kernels import encode_select as select
from saelab.kernels.nested_loss import budget_levels
from saelab.sae.base import SAE, SAEConfig
from saelab.sae.nested import reconstruct_nested, with_settings
from saelab.sae.sparse import Sparse

SMALLEST = 64  # features of the paper's smallest code


class MSAEConfig(SAEConfig):
    variant: Literal["msae"] = "msae"
    k0: int | None = Field(
        None, gt=0, description="Features of the smallest code, each further one has twice as many; null: 64, or all."
    )
    weighting: Literal["uniform", "reverse"] = Field(
        "uniform", description="Weights of the codes: all the same, or falling from the smallest code to the largest."
    )
    inference_k: int | None = Field(None, gt=0, description="Features kept per row in evaluation; null: all above 0.")

    @model_validator(mode="after")
    def _enough_features(self) -> "MSAEConfig":
        for name, value in (("k0", self.k0), ("inference_k", self.inference_k)):
            if value is not None and value > self.d_sae:
                raise ValueError(
                    f"{name} = {value} features per row, but d_sae = {self.d_sae} is all there are; "
                    f"lower {name} or raise d_sae"
                )
        return self

    @property
    def codes(self) -> list[int]:
        """Features per row of every code: k0 and its doubles below d_sae, then d_sae."""
        sizes = [self.k0 or min(SMALLEST, self.d_sae)]
        while sizes[-1] < self.d_sae:
            sizes.append(min(2 * sizes[-1], self.d_sae))
        return sizes

    @property
    def shares(self) -> list[float]:
        """alpha, divided by its sum."""
        count = len(self.codes)
        alpha = [1] * count if self.weighting == "uniform" else list(range(count, 0, -1))
        return [one / sum(alpha) for one in alpha]


class MSAE(SAE):
    Config: ClassVar[type[SAEConfig]] = MSAEConfig
    architectures = ("standard", "transcoder", "skip_transcoder")
    cut_architectures = ("topk", "topk_transcoder", "topk_skip_transcoder")
    cfg: MSAEConfig

    def at(self, k: int | None) -> "MSAE":
        """This SAE with the `k` largest activations of each row alone in evaluation; weights shared."""
        return with_settings(self, inference_k=k)

    @property
    def rows_apart(self) -> bool:
        return True

    def sparse(self, x: Float[Tensor, "batch d_in"]) -> Sparse:
        k = None if self.training else self.cfg.inference_k
        return Sparse(*self.pre_activations(x, select.Above(0.0) if k is None else select.TopK(k)))

    def loss_terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        code = self.sparse(batch.x)
        level = budget_levels(code.values, code.pattern, self.cfg.codes)
        loss, _ = reconstruct_nested(self, code, level, self.cfg.shares, batch)
        self.count_fired(code.fired(), len(batch.x))
        return {"reconstruction": loss}

    @property
    def architecture(self) -> str:
        kinds = self.architectures if self.cfg.inference_k is None else self.cut_architectures
        return kinds[self.cfg.transcoder + self.cfg.skip]

    def exported_settings(self) -> dict[str, Any]:
        k = self.cfg.inference_k
        return {} if k is None else {"k": k, "rescale_acts_by_decoder_norm": False}
