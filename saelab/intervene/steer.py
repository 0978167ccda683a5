"""Steering: make chosen features as strong as asked, in units of the strongest they get by themselves.

    x' = x + sum_i (v_new_i - v_i) W_dec[i]

(see `delta`), with v and v_new as the mode says (see `modes`). "add" with 0 and "scale" with 1 change nothing.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from saelab.errors import InterventionError
from saelab.intervene.delta import ByRow, Shift, Watch, Where, at, feature_edits
from saelab.intervene.modes import MODES
from saelab.lm import Edit
from saelab.sae import SAE

# name -> (positions [tokens], length of the prompt, n) -> which of them
POSITIONS: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "all": lambda positions, length, n: positions >= 0,
    "prompt": lambda positions, length, n: positions < length,
    "generated": lambda positions, length, n: positions >= length,
    "last": lambda positions, length, n: (positions < length) & (positions >= length - n),
}
STRONGEST = 1000.0  # far past the strength at which text breaks down (about 5); beyond it only a slip of the hand


@dataclass(frozen=True)
class Steer:
    """What to do with one feature, and at which positions.

    all: everywhere. prompt: at the tokens of the prompt. generated: at the tokens written since, so the first new
    token, which the prompt's last position predicts, is not affected. last: at the last `last` tokens of the prompt.
    """

    feature: int
    strength: float
    mode: str = "add"
    positions: str = "all"
    last: int = 1

    def __post_init__(self) -> None:
        if not math.isfinite(self.strength) or abs(self.strength) > STRONGEST:
            raise InterventionError(
                f"feature {self.feature}: strength {self.strength} is out of range: give a number from "
                f"{-STRONGEST:g} to {STRONGEST:g}; 1 is the strongest that text ever made the feature"
            )
        for name, value, known in (("mode", self.mode, MODES), ("positions", self.positions, POSITIONS)):
            if value not in known:
                raise InterventionError(f"feature {self.feature}: there is no {name} {value!r}: use {', '.join(known)}")
        if self.last < 1:
            raise InterventionError(f"feature {self.feature}: the last {self.last} tokens are none: give 1 or more")


def steering_edits(
    sae: SAE,
    steers: Sequence[Steer],
    maxima: Float[Tensor, "steers"],
    counted: Bool[Tensor, "prompt"],
    by_row: ByRow = lambda delta: delta,
    watch: Watch = lambda f: None,
) -> dict[str, Edit]:
    """The edits, by site, that steer; `maxima[j]` belongs to `steers[j]`.

    `counted` is one flag per token of the prompt, false for BOS and other special tokens, which stay untouched.
    """
    refuse_silent(steers, maxima)
    device = sae.W_dec.device
    strengths = torch.tensor([one.strength for one in steers], device=device)
    projected = torch.tensor([MODES[one.mode].projected for one in steers], device=device)
    return feature_edits(
        sae, [one.feature for one in steers], _shift(steers, strengths, maxima.to(strengths)),
        where_steered(steers, counted), by_row, projected=projected, watch=watch,
    )  # fmt: skip


def _shift(steers: Sequence[Steer], strengths: Float[Tensor, "n"], maxima: Float[Tensor, "n"]) -> Shift:
    def shift(v: Tensor) -> Tensor:
        new = [MODES[one.mode].new(v[..., j], strengths[j], maxima[j]) for j, one in enumerate(steers)]
        return torch.stack(new, dim=-1) - v

    return shift


def refuse_silent(steers: Sequence[Steer], maxima: Float[Tensor, "n"]) -> None:
    """A feature that never fired has no unit to steer by: say so instead of steering by nothing."""
    if len(steers) != len(maxima):
        raise InterventionError(f"{len(steers)} features to steer, but {len(maxima)} maxima: give one for each")
    for one, maximum in zip(steers, maxima.tolist(), strict=True):
        if not maximum > 0 and MODES[one.mode].in_maxima and one.strength:
            raise InterventionError(
                f"feature {one.feature} never fired in its index (maximum {maximum:g}), so a strength in units of "
                "its maximum means nothing.\n  fix:   choose a feature that fires, or index more text"
            )


def where_steered(steers: Sequence[Steer], counted: Bool[Tensor, "prompt"]) -> Where:
    """Where each feature changes: at the positions it asks for, but not at tokens that do not count."""

    def where(positions: Tensor) -> Tensor:
        wanted = [POSITIONS[one.positions](positions, len(counted), one.last) for one in steers]
        return torch.stack(wanted, dim=-1) & at(counted, positions).unsqueeze(-1)

    return where
