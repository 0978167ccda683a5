"""TopK: finds independent features, and AuxK brings back those that start dead."""

from typing import Any

from saelab.prove.claim import AtLeast, AtMost, Claim
from saelab.prove.fit import Fitted, fit
from saelab.synthetic import bed
from saelab.synthetic.scores import mcc_floor

STEPS = 3000
GAO = "Gao et al. 2024"


def easy(seed: int, **sae: Any) -> Fitted:
    """As many latents as there are features."""
    return fit("easy", seed, steps=STEPS, variant="topk", d_sae=256, **sae)


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
)  # fmt: skip
