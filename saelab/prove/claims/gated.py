"""Gated: L1 chooses the features and does not shrink them."""

from saelab.prove.claim import AtMost, Claim
from saelab.prove.fit import Fitted, fit

STEPS, L0 = 1000, 8.0  # as many as fire
RAJAMANOHARAN = "Rajamanoharan et al. 2024a"


def easy(seed: int, variant: str) -> Fitted:
    return fit("easy", seed, steps=STEPS, variant=variant, d_sae=256, target_l0=L0)


def off_l0(seed: int) -> float:
    """The larger |L0 / target - 1| of the two, on held-out rows: they are compared at equal L0."""
    return max(abs(easy(seed, variant).scores.l0 / L0 - 1) for variant in ("gated", "relu"))


def shrinkage(seed: int) -> float:
    """What |x_hat| / |x| lacks to 1, over what it lacks with L1 on the activations themselves."""
    gated, relu = (easy(seed, variant).scores.shrinkage for variant in ("gated", "relu"))
    return abs(1 - gated) / abs(1 - relu)


def error(seed: int) -> float:
    """FVU over that of the relu variant."""
    return easy(seed, "gated").scores.fvu / easy(seed, "relu").scores.fvu


CLAIMS = (
    Claim("gated-l0", "gated", "easy", "|L0 / 8 - 1| of gated and relu", AtMost(0.10), off_l0, "what the others need"),
    Claim(
        "gated-shrinkage", "gated", "easy", "1 - |x_hat| / |x| over relu's at equal L0", AtMost(0.5),
        shrinkage, RAJAMANOHARAN,
    ),
    Claim("gated-fvu", "gated", "easy", "FVU over relu's at equal L0", AtMost(0.9), error, RAJAMANOHARAN),
)  # fmt: skip
