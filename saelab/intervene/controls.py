"""Controls: what a model does when it is pushed just as far, but not by the feature.

    random    at every position as far as the steering would, in one random direction
    other     as far, along W_dec of a feature drawn at random; against it where the feature is pushed back

What these do too is no work of the feature.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.errors import InterventionError
from saelab.sae import SAE


def another_feature(sae: SAE, feature: int) -> int:
    """One of the others, drawn by the feature's number: the same control each time."""
    if sae.cfg.d_sae == 1:
        raise InterventionError("this SAE has one feature: there is no other one to compare with")
    random = torch.Generator().manual_seed(feature)
    drawn = int(torch.randint(sae.cfg.d_sae - 1, (1,), generator=random))
    return drawn + (drawn >= feature)


def random_direction(sae: SAE, seed: int) -> Float[Tensor, "d_out"]:
    """A unit vector, the same for a seed."""
    drawn = torch.randn(sae.W_dec.shape[1], generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=0).to(sae.W_dec)


def as_far(delta: Float[Tensor, "*rows d"], unit: Float[Tensor, "d"]) -> Float[Tensor, "*rows d"]:
    """Each row as long as it is, along `unit`."""
    return delta.norm(dim=-1, keepdim=True) * unit.to(delta)


def as_far_along(
    delta: Float[Tensor, "*rows d"], steered: Float[Tensor, "d"], other: Float[Tensor, "d"]
) -> Float[Tensor, "*rows d"]:
    """Each row as long as it is, along `other`, to the side to which it goes along `steered`."""
    side = (delta @ steered.to(delta)).sign().unsqueeze(-1)
    return side * as_far(delta, torch.nn.functional.normalize(other, dim=0))
