"""Easy's features, some of which a model behind the rows reads: what matters to it is not what is largest in them.

    logits = sharpness x C^T,    C [read, d] the directions of the first features
    target ~ softmax(logits),    loss = -ln softmax(logits)[target]
    gradient = d loss / d x = sharpness (softmax(logits) - onehot(target)) C

The target is drawn of the model's own prediction, as if that were calibrated: what the loss rises by on average when x
is replaced by x_hat is KL(softmax(x) || softmax(x_hat)).
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from saelab.metrics import kl_divergence
from saelab.synthetic.beds.easy import Easy, EasyConfig


class ReadoutConfig(EasyConfig):
    read: int = Field(64, gt=0, description="Features that the model reads, the first ones.")
    sharpness: float = Field(4.0, gt=0, description="Logit of a feature per unit of its activation.")

    @model_validator(mode="after")
    def _fits(self) -> "ReadoutConfig":
        if self.read > self.n:
            raise ValueError(f"read = {self.read} features of n = {self.n}; lower read")
        return self


class Readout(Easy):
    Config = ReadoutConfig
    cfg: ReadoutConfig
    has_loss: ClassVar[bool] = True

    def logits(self, x: Float[Tensor, "rows d"]) -> Float[Tensor, "rows read"]:
        """What the model predicts."""
        return self.cfg.sharpness * x @ self.features[: self.cfg.read].t()

    def gradient(self, x: Float[Tensor, "rows d"], random: torch.Generator) -> Float[Tensor, "rows d"]:
        p = self.logits(x).softmax(dim=1)
        target = torch.multinomial(p, 1, generator=random)
        return self.cfg.sharpness * p.scatter_add(1, target, -torch.ones_like(p[:, :1])) @ self.features[: p.shape[1]]

    def increase(self, x: Float[Tensor, "rows d"], x_hat: Float[Tensor, "rows d"]) -> float:
        """Mean increase of the loss when x is replaced by x_hat, in nats."""
        return kl_divergence(self.logits(x), self.logits(x_hat)).mean().item()
