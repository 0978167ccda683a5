"""Recipes of the trainer: beginning in the active subspace leaves few features dead."""

from saelab.prove.claim import AtMost, Claim
from saelab.prove.fit import fit

STEPS, BATCH, RATE = 600, 512, 2e-3  # the rate that is derived for so short a run kills a fifth of them by itself


def dead(seed: int, init: str) -> float:
    """Share of features that did not fire on the last tenth of the rows; 64 features to a dimension."""
    train = (("init", init), ("lr", RATE), ("dead_after", STEPS * BATCH // 10))
    return fit(
        "lowrank", seed, steps=STEPS, batch=BATCH, train=train, variant="topk", d_sae=2048, k=4
    ).trainee.dead_in_training()


CLAIMS = (
    Claim(
        "topk-active-subspace", "topk", "lowrank", "dead features with init: active_subspace, beside random's",
        AtMost(0.2), lambda seed: dead(seed, "active_subspace") / dead(seed, "random"), "Wang et al. 2025",
    ),
)  # fmt: skip
