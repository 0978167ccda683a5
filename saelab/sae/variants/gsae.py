"""Gradient SAE: TopK that prefers features which matter to what the model says next.

    training:   s = z + beta z a                        (add)           kept are the k largest s of each row;
                s = z a^beta                            (product)       f is z there, so s decides and is not reproduced
                a = |g W_dec^T| / mean influence,       g = d(model's loss) / dy
    inference:  f = TopK_k(z),                          z = ReLU((x - b_dec) W_enc + b_enc)

a_i is how much the loss moves, to first order, per unit of feature i. It is measured in what a direction drawn at
random has on average over the batch, sqrt(2 / (pi d)) mean |g|, so `beta` means the same whatever the model and the
length of its contexts, and 1 makes the mean of beta a about 1. No gradient flows through s. A row with g = 0, such as
a context's last, goes by z. With beta = 0 this is TopK, to the bit; loss, AuxK and checkpoint are TopK's.

Olmo et al. 2024, "Features that make a difference: leveraging gradients for improved dictionary learning". The abstract
gives the term beta z a; whether it is added to z, and the value of beta, it does not give: hence `grad_mix`.
"""

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from saelab.contracts import Batch
from saelab.errors import ConfigError
from saelab.kernels.encode_select import ScoredTopK
from saelab.kernels.workspace import workspace
from saelab.sae.base import SAEConfig
from saelab.sae.sparse import Sparse
from saelab.sae.variants.topk import TopK, TopKConfig


class GSAEConfig(TopKConfig):
    variant: Literal["gsae"] = "gsae"  # type: ignore[assignment]
    beta: float = Field(1.0, ge=0, description="Weight of a feature's influence in the selection; 0: plain TopK.")
    grad_mix: Literal["add", "product"] = Field("add", description="Score of a feature: z + beta z a, or z a^beta.")

    @property
    def wants_gradient(self) -> bool:
        return self.beta > 0


class GSAE(TopK):
    Config: ClassVar[type[SAEConfig]] = GSAEConfig
    cfg: GSAEConfig  # type: ignore[assignment]

    def loss_terms(self, batch: Batch, step: int) -> dict[str, Tensor]:
        code = self.guided(batch)
        loss, error = self.reconstruct(code, batch)
        self.observe(code)
        return {"reconstruction": loss, "aux": self._aux(batch.x, error)}

    def guided(self, batch: Batch) -> Sparse:
        """The code that training sees: selected by the gradient. Raises ConfigError for a batch that has none."""
        if not self.cfg.wants_gradient:
            return self.sparse(batch.x)
        if batch.gradient is None:
            raise ConfigError(
                f"gsae with beta = {self.cfg.beta:g} selects by the gradient of the model's loss, but this batch has "
                "none.\n  fix:   Batch(x, y, gradient), from rows harvested with gradients: true; or beta = 0"
            )
        rule = ScoredTopK(self.cfg.k, self._scores(batch.gradient.to(self.W_dec.dtype)))
        return Sparse(*self.pre_activations(batch.x, rule))

    def _scores(self, g: Float[Tensor, "batch d_out"]) -> Callable[[Tensor, slice], Tensor]:
        """s of some rows, from their pre-activations."""
        W_dec, beta, add = self.W_dec.detach(), self.cfg.beta, self.cfg.grad_mix == "add"
        length = g.norm(dim=1)
        mean = (2 / (torch.pi * g.shape[1])) ** 0.5 * length.mean()
        g = g / mean.clamp_min(torch.finfo(g.dtype).tiny)

        def scores(pre: Float[Tensor, "some d_sae"], rows: slice) -> Float[Tensor, "some d_sae"]:
            out = workspace.take(len(pre), len(W_dec), pre.device, g.dtype, "influence")
            a = torch.mm(g[rows], W_dec.t(), out=out).abs_()
            if add:
                return torch.addcmul(pre, pre, a, value=beta, out=a)
            a.pow_(beta)[length[rows] == 0] = 1
            return a.mul_(pre)

        return scores
