"""Steering: make chosen features as strong as asked, in units of the strongest they get by themselves.

    add     f_new = f + strength * max_i
    scale   f_new = strength * f
    clamp   f_new = strength * max_i

with x' = x + sum_i (f_new_i - f_i) W_dec[i] (see `delta`), where max_i is the largest activation of feature i in
its index: strength 1 is as strong as text ever made it. "add" with 0 and "scale" with 1 change nothing.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from saelab.errors import InterventionError
from saelab.intervene.delta import ByRow, Where, at, feature_edits
from saelab.lm import Edit
from saelab.sae import SAE

# mode -> strength -> (g, o) of f_new - f = g f + o max_i
MODES: dict[str, Callable[[float], tuple[float, float]]] = {
    "add": lambda strength: (0.0, strength),
    "scale": lambda strength: (strength - 1.0, 0.0),
    "clamp": lambda strength: (-1.0, strength),
}
# name -> (positions [tokens], length of the prompt) -> which of them
POSITIONS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "all": lambda positions, length: positions >= 0,
    "prompt": lambda positions, length: positions < length,
    "generated": lambda positions, length: positions >= length,
    "last": lambda positions, length: positions == length - 1,
}
STRONGEST = 1000.0  # far past the strength at which text breaks down (about 5); beyond it only a slip of the hand


@dataclass(frozen=True)
class Steer:
    """What to do with one feature, and at which positions.

    all: everywhere. prompt: at the tokens of the prompt. generated: at the tokens written since, so the first new
    token, which the prompt's last position predicts, is not affected. last: at the prompt's last token alone.
    """

    feature: int
    strength: float
    mode: str = "add"
    positions: str = "all"

    def __post_init__(self) -> None:
        if not math.isfinite(self.strength) or abs(self.strength) > STRONGEST:
            raise InterventionError(
                f"feature {self.feature}: strength {self.strength} is out of range: give a number from "
                f"{-STRONGEST:g} to {STRONGEST:g}; 1 is the strongest that text ever made the feature"
            )
        for name, value, known in (("mode", self.mode, MODES), ("positions", self.positions, POSITIONS)):
            if value not in known:
                raise InterventionError(f"feature {self.feature}: there is no {name} {value!r}: use {', '.join(known)}")


def steering_edits(
    sae: SAE,
    steers: Sequence[Steer],
    maxima: Float[Tensor, "steers"],
    counted: Bool[Tensor, "prompt"],
    by_row: ByRow = lambda delta: delta,
) -> dict[str, Edit]:
    """The edits, by site, that steer; `maxima[j]` belongs to `steers[j]`.

    `counted` is one flag per token of the prompt, false for BOS and other special tokens, which stay untouched.
    """
    refuse_silent(steers, maxima)
    device = sae.W_dec.device
    gain, offset = torch.tensor([MODES[one.mode](one.strength) for one in steers], device=device).unbind(dim=1)
    offset = offset * maxima.to(offset)
    return feature_edits(
        sae, [one.feature for one in steers], lambda f: gain * f + offset, where_steered(steers, counted), by_row
    )


def refuse_silent(steers: Sequence[Steer], maxima: Float[Tensor, "n"]) -> None:
    """A feature that never fired has no unit to steer by: say so instead of steering by nothing."""
    if len(steers) != len(maxima):
        raise InterventionError(f"{len(steers)} features to steer, but {len(maxima)} maxima: give one for each")
    for one, maximum in zip(steers, maxima.tolist(), strict=True):
        if not maximum > 0 and MODES[one.mode](one.strength)[1]:
            raise InterventionError(
                f"feature {one.feature} never fired in its index (maximum {maximum:g}), so a strength in units of "
                "its maximum means nothing.\n  fix:   choose a feature that fires, or index more text"
            )


def where_steered(steers: Sequence[Steer], counted: Bool[Tensor, "prompt"]) -> Where:
    """Where each feature changes: at the positions it asks for, but not at tokens that do not count."""

    def where(positions: Tensor) -> Tensor:
        wanted = [POSITIONS[one.positions](positions, len(counted)) for one in steers]
        return torch.stack(wanted, dim=-1) & at(counted, positions).unsqueeze(-1)

    return where
