"""Matryoshka: on a tree of parents and children it keeps the parents whole that BatchTopK hides in their children."""

from typing import Any

from saelab.prove.claim import AtLeast, Claim
from saelab.prove.fit import Fitted, fit

GROUPS = (8, 16, 16)  # the bed's 8 parents, then its 32 children
BUSSMANN = "Bussmann et al. 2025"

NOISE = (
    "The bound lies within the spread of seeds (10 of them). Parent recall with fixed prefixes is .852 +- .050 without "
    "AuxK, .849 +- .056 with features dead after a tenth of the run, .840 +- .052 after a 75th."
)


def tree(seed: int, **sae: Any) -> Fitted:
    """As many latents as features, as many active as fire at most on average; the rate of the calibration."""
    return fit("tree", seed, steps=2000, batch=256, train=(("lr", 2e-3),), d_sae=40, k=2, **sae)


def nested(seed: int) -> Fitted:
    return tree(seed, variant="matryoshka", groups=GROUPS)


def plain(seed: int) -> Fitted:
    return tree(seed, variant="batchtopk")


def recall(fitted: Fitted) -> float:
    """Of the best latent of each parent, on rows with one of its children."""
    return fitted.scores.parent_recall or 0.0


CLAIMS = (
    Claim(
        "matryoshka-parents", "matryoshka", "tree", "parent recall given a child", AtLeast(0.85),
        lambda seed: recall(nested(seed)), "calibrated without AuxK: .91", seeds=10,
        note=NOISE,
    ),
    Claim(
        "matryoshka-absorption", "matryoshka", "tree", "parent recall less BatchTopK's", AtLeast(0.15),
        lambda seed: recall(nested(seed)) - recall(plain(seed)), BUSSMANN, seeds=10,
    ),
    Claim(
        "matryoshka-mcc", "matryoshka", "tree", "MCC less BatchTopK's", AtLeast(0.08),
        lambda seed: nested(seed).scores.mcc - plain(seed).scores.mcc, "calibrated: .80 against .68", seeds=10,
        note=NOISE,
    ),
    Claim(
        "matryoshka-random", "matryoshka", "tree", "parent recall, random prefixes", AtLeast(0.85),
        lambda seed: recall(tree(seed, variant="matryoshka", prefixes="random")), "Nabeshima 2024", seeds=10,
        note=NOISE,
    ),
)  # fmt: skip
