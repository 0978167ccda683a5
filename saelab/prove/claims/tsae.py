"""TSAE: finds independent features, and when they fire, as far as one layer can."""

from saelab.prove.claim import AtLeast, Claim
from saelab.prove.claims.relu import STEPS, TARGET
from saelab.prove.fit import Fitted, fit

HU = "Hu et al. 2025"


def easy(seed: int) -> Fitted:
    return fit("easy", seed, steps=STEPS, variant="tsae", d_sae=256, target_l0=TARGET)


CLAIMS = (
    Claim("tsae-mcc", "tsae", "easy", "MCC with target_l0: 8", AtLeast(0.97), lambda seed: easy(seed).scores.mcc, HU),
    Claim(
        "tsae-f1", "tsae", "easy", "F1 of firing with target_l0: 8", AtLeast(0.95),
        lambda seed: easy(seed).scores.f1, HU,
        note="No linear encoder with thresholds reaches it here: one trained on the true firings (a logistic "
        "regression for every feature, 4000 batches of 512) has an F1 of .934 (seed 0): 256 directions in 128 "
        "dimensions interfere.",
    ),
)  # fmt: skip
