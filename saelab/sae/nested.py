"""Codes of which each holds the one before: their reconstruction in training, and reading fewer of them afterwards."""

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

from jaxtyping import Float, Int
from torch import Tensor

from saelab.config import settings
from saelab.contracts import Batch
from saelab.kernels.nested_loss import NestedReconstruction
from saelab.sae.base import SAE
from saelab.sae.sparse import Sparse

S = TypeVar("S", bound=SAE)


def reconstruct_nested(
    sae: SAE, code: Sparse, level: Int[Tensor, "nz"], weights: Sequence[float], batch: Batch
) -> tuple[Float[Tensor, ""], Float[Tensor, "batch d_out"]]:
    """What `SAE.reconstruct` is for one code: weighted sum of the codes' losses, gradient of the last one's in y_hat.

    `level` is the first code that an entry of `code` is in (kernels/nested_loss).
    """
    y, shares = sae.wanted(batch), code.values.new_tensor(weights)
    loss, _, error = NestedReconstruction.apply(
        code.values, sae.W_dec, sae.b_dec, y, shares, code.pattern, level, 1 / y.numel()
    )
    return loss, error[:, -1] / shares[-1]


def evenly(codes: Sequence[Any]) -> list[float]:
    """The same weight for every code, 1 in all."""
    return [1 / len(codes)] * len(codes)


def with_settings(sae: S, **changes: Any) -> S:
    """The same SAE with other settings for evaluation; both have the same weights, not copies of them."""
    other = copy.copy(sae)
    other.cfg = settings(type(sae.cfg), {**sae.cfg.model_dump(), **changes}, where="sae")
    return other
