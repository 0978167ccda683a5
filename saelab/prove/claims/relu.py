"""ReLU: the L1 weight that gives a wanted number of active features is found while it trains."""

from typing import Any

from saelab.prove.claim import AtMost, Claim
from saelab.prove.fit import Fitted, fit

STEPS, TARGET = 3000, 8.0


def easy(seed: int, **sae: Any) -> Fitted:
    """As many latents as there are features; as many active as fire."""
    return fit("easy", seed, steps=STEPS, variant="relu", d_sae=256, target_l0=TARGET, **sae)


def off_target(l0: float) -> float:
    """|L0 / target - 1|."""
    return abs(l0 / TARGET - 1)


CLAIMS = (
    Claim(
        "relu-target", "relu", "easy", "|L0 / target_l0 - 1|, nothing else set", AtMost(0.1),
        lambda seed: off_target(easy(seed).scores.l0), "Nabeshima 2024",
    ),
)  # fmt: skip
