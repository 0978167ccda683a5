"""TSAE: one threshold for all finds the features and when they fire."""

from saelab.prove.claim import AtLeast, Claim
from saelab.prove.claims.relu import STEPS, TARGET
from saelab.prove.fit import Fitted, fit

HU = "Hu et al. 2025"


def easy(seed: int) -> Fitted:
    return fit("easy", seed, steps=STEPS, variant="tsae", d_sae=256, target_l0=TARGET)


CLAIMS = (
    Claim("tsae-mcc", "tsae", "easy", "MCC", AtLeast(0.97), lambda seed: easy(seed).scores.mcc, HU),
    Claim("tsae-f1", "tsae", "easy", "F1 of firing", AtLeast(0.95), lambda seed: easy(seed).scores.f1, HU),
)
