"""TopK: finds independent features, and AuxK brings back those that start dead."""

from typing import Any

import torch

from saelab.prove.claim import AtLeast, AtMost, Claim
from saelab.prove.fit import Fitted, fit
from saelab.sae import SAE
from saelab.synthetic import bed
from saelab.synthetic.scores import mcc_floor

STEPS = 3000
GAO = "Gao et al. 2024"


def easy(seed: int, **sae: Any) -> Fitted:
    """As many latents as there are features."""
    return fit("easy", seed, steps=STEPS, variant="topk", d_sae=256, **sae)


@torch.no_grad()
def half_dead(sae: SAE) -> None:
    """Half of the features begin three deviations below zero: in training units a pre-activation's is about 1."""
    sae.b_enc[: sae.cfg.d_sae // 2] = -3.0


def dead_left(seed: int, aux: float) -> float:
    """Share of features that fire on no held-out row, half having begun dead."""
    return easy(seed, k=8, aux=aux, begin=half_dead).scores.dead_share


def dead_ratio(seed: int) -> float:
    """Dead features with AuxK, as a share of those without."""
    return dead_left(seed, 1 / 32) / dead_left(seed, 0.0)


CLAIMS = (
    Claim(
        "topk-floor", "topk", "easy", "MCC of random directions, 256 against 256", AtMost(0.26),
        lambda seed: mcc_floor(256, bed({"bed": "easy", "seed": seed}).features, seed), "chance",
    ),
    Claim(
        "topk-mcc-8", "topk", "easy", "MCC at k = 8, as many as fire", AtLeast(0.92),
        lambda seed: easy(seed, k=8).scores.mcc, "calibrated without AuxK: .930",
    ),
    Claim(
        "topk-mcc-16", "topk", "easy", "MCC at k = 16", AtLeast(0.96),
        lambda seed: easy(seed, k=16).scores.mcc, "calibrated without AuxK: .975",
    ),
    Claim(
        "topk-auxk", "topk", "easy", "dead share with AuxK (1/32) / without, half beginning at -3 sd", AtMost(1 / 3),
        dead_ratio, GAO,
    ),
)  # fmt: skip
