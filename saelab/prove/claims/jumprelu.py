"""JumpReLU: ends at the L0 that is wanted, and explains more than ReLU with L1 at the same L0."""

from typing import Any

from saelab.prove.claim import AtMost, Claim
from saelab.prove.claims import relu
from saelab.prove.fit import Fitted, fit

HARD_TARGET, HARD_LATENTS, HARD_STEPS = 16, 2048, 2000
RAJAMANOHARAN = "Rajamanoharan et al. 2024"
CONERLY = "Conerly et al. 2025"


def easy(seed: int, **sae: Any) -> Fitted:
    return fit("easy", seed, steps=relu.STEPS, variant="jumprelu", d_sae=256, target_l0=relu.TARGET, **sae)


def hard(seed: int, variant: str) -> float:
    """FVU."""
    fitted = fit("hard", seed, steps=HARD_STEPS, variant=variant, d_sae=HARD_LATENTS, target_l0=HARD_TARGET)
    return fitted.scores.fvu


CLAIMS = (
    Claim(
        "jumprelu-target", "jumprelu", "easy", "|L0 / 8 - 1| with target_l0: 8", AtMost(0.10),
        lambda seed: relu.off_target(easy(seed).scores.l0), RAJAMANOHARAN,
    ),
    Claim(
        "jumprelu-tanh-target", "jumprelu", "easy", "|L0 / 8 - 1| with target_l0: 8 and the tanh penalty", AtMost(0.10),
        lambda seed: relu.off_target(easy(seed, penalty="tanh").scores.l0), CONERLY,
    ),
    Claim(
        "jumprelu-fvu", "jumprelu", "easy", "FVU, of ReLU's with L1, both with target_l0: 8", AtMost(0.90),
        lambda seed: easy(seed).scores.fvu / relu.easy(seed).scores.fvu, RAJAMANOHARAN,
    ),
    Claim(
        "jumprelu-tanh-fvu", "jumprelu", "easy", "FVU with the tanh penalty, of ReLU's with L1, target_l0: 8",
        AtMost(0.90), lambda seed: easy(seed, penalty="tanh").scores.fvu / relu.easy(seed).scores.fvu, CONERLY,
    ),
    Claim(
        "jumprelu-fvu-hard", "jumprelu", "hard", "FVU, of ReLU's with L1, both with target_l0: 16", AtMost(0.90),
        lambda seed: hard(seed, "jumprelu") / hard(seed, "relu"), RAJAMANOHARAN, slow=True,
    ),
)  # fmt: skip
