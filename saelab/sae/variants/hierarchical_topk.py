"""HierarchicalTopK SAE: trained at many sparsities at once, so that it can be read at any of them.

    f_k     = TopK_k(ReLU((x - b_dec) W_enc + b_enc))
    x_hat_k = f_k W_dec + b_dec
    loss    = mean over the budgets k of mean |y - x_hat_k|^2 / d + aux * AuxK        AuxK on what x_hat_K leaves over

f_k is f_K without its smallest entries, so all budgets cost one encoding and one walk over K features per row
(kernels/nested_loss); beyond it, each costs a pass over batch x d numbers. The paper takes every k from 1 to K. Eight
spread evenly, the last K, have much the same mean; they are the default. Evaluation keeps `inference_k`, or K. With K
as the only budget this is TopK.

Balagansky et al. 2025, "Train One Sparse Autoencoder Across Multiple Sparsity Budgets to Preserve Interpretability and
Accuracy", arXiv 2505.24473.
"""

from itertools import pairwise
from typing import Any, ClassVar, Literal

from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from saelab.contracts import Batch
from saelab.kernels import encode_select as select
from saelab.kernels.nested_loss import budget_levels
from saelab.sae.base import SAEConfig
from saelab.sae.nested import evenly, reconstruct_nested, with_settings
from saelab.sae.sparse import Sparse
from saelab.sae.variants.topk import TopK, TopKConfig

SPREAD = 8  # budgets, where none are given


class HierarchicalTopKConfig(TopKConfig):
    variant: Literal["hierarchical_topk"] = "hierarchical_topk"  # type: ignore[assignment]
    budgets: tuple[int, ...] | None = Field(
        None, min_length=1, description="Numbers of features trained for, ascending to k; null: up to 8, evenly spread."
    )
    inference_k: int | None = Field(None, gt=0, description="Features kept per row in evaluation; null: k.")

    @model_validator(mode="after")
    def _budgets_fit(self) -> "HierarchicalTopKConfig":
        if any(after <= before for before, after in pairwise((0, *self.trained))) or self.trained[-1] != self.k:
            raise ValueError(
                f"budgets = {list(self.trained)}, and k = {self.k}; they must ascend from 1 or more, and end with k"
            )
        if self.inference_k is not None and self.inference_k > self.k:
            raise ValueError(
                f"inference_k = {self.inference_k} features per row, but k = {self.k} are trained for; "
                "lower inference_k or raise k"
            )
        return self

    @property
    def trained(self) -> tuple[int, ...]:
        """The budgets, ascending."""
        count = min(SPREAD, self.k)
        return self.budgets or tuple(round(self.k * (i + 1) / count) for i in range(count))


class HierarchicalTopK(TopK):
    Config: ClassVar[type[SAEConfig]] = HierarchicalTopKConfig
    cfg: HierarchicalTopKConfig

    def at(self, k: int | None) -> "HierarchicalTopK":
        """This SAE with `k` features per row in evaluation; weights shared."""
        return with_settings(self, inference_k=k)

    @property
    def kept(self) -> int:
        """Features kept per row."""
        return self.cfg.k if self.training else self.cfg.inference_k or self.cfg.k

    @property
    def rows_apart(self) -> bool:
        return True

    def sparse(self, x: Float[Tensor, "batch d_in"]) -> Sparse:
        return Sparse(*self.pre_activations(x, select.TopK(self.kept)))

    def loss_terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        code, budgets = self.sparse(batch.x), self.cfg.trained
        level = budget_levels(code.values, code.pattern, budgets)
        loss, error = reconstruct_nested(self, code, level, evenly(budgets), batch)
        self.observe(code)
        return {"reconstruction": loss, "aux": self._aux(batch.x, error)}

    def exported_settings(self) -> dict[str, Any]:
        return super().exported_settings() | {"k": self.cfg.inference_k or self.cfg.k}
