"""JumpReLU: holds the number of active features that is asked for, at a lower error than ReLU with L1."""

from typing import Any

from saelab.prove.claim import AtMost, Claim
from saelab.prove.claims import relu
from saelab.prove.fit import Fitted, fit

RAJAMANOHARAN = "Rajamanoharan et al. 2024"


def easy(seed: int, **sae: Any) -> Fitted:
    return fit("easy", seed, steps=relu.STEPS, variant="jumprelu", d_sae=256, target_l0=relu.TARGET, **sae)


CLAIMS = (
    Claim(
        "jumprelu-target", "jumprelu", "easy", "|L0 / target_l0 - 1|, nothing else set", AtMost(0.1),
        lambda seed: relu.off_target(easy(seed).scores.l0), RAJAMANOHARAN,
    ),
    Claim(
        "jumprelu-fvu", "jumprelu", "easy", "FVU / that of ReLU with L1 at the same target_l0", AtMost(0.9),
        lambda seed: easy(seed).scores.fvu / relu.easy(seed).scores.fvu, RAJAMANOHARAN,
    ),
)  # fmt: skip
