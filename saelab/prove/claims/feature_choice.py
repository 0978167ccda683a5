"""Feature Choice: no feature keeps more rows than its share, none is dead, and the error is TopK's."""

from typing import Any

import torch

from saelab.prove.claim import AtMost, Claim
from saelab.prove.fit import Fitted, fit

STEPS, K = 3000, 8
AYONRINDE = "Ayonrinde 2024"


def easy(seed: int) -> Fitted:
    """All features alike, as those of the bed are."""
    return fit("easy", seed, steps=STEPS, variant="feature_choice", d_sae=256, k=K, alpha=0.0, mutual_first=0.0)


def fvu_ratio(seed: int) -> float:
    """FVU as a multiple of TopK's."""
    return easy(seed).scores.fvu / fit("easy", seed, steps=STEPS, variant="topk", d_sae=256, k=K).scores.fvu


def rows_too_many(seed: int) -> float:
    """The most rows that any feature keeps beyond its share, over 20 batches."""
    fitted = easy(seed)
    sae: Any = fitted.trainee.sae.train()
    worst = -float("inf")
    for number in range(20):
        x = fitted.bed.draw(512, 1000 + number).x
        with torch.no_grad():
            kept = sae.encode_sparse(fitted.trainee.normalisation.batch(x, x).x).dense() > 0
        worst = max(worst, (kept.sum(dim=0) - sae.quotas(512)).max().item())
    return worst


CLAIMS = (
    Claim(
        "feature_choice-columns", "feature_choice", "easy", "rows kept beyond a feature's share, the most", AtMost(0.0),
        rows_too_many, AYONRINDE,
    ),
    Claim(
        "feature_choice-dead", "feature_choice", "easy", "features that fire on none of 8192 rows", AtMost(0.0),
        lambda seed: easy(seed).scores.dead_share, AYONRINDE,
    ),
    Claim(
        "feature_choice-fvu", "feature_choice", "easy", "FVU / TopK's, k = 8", AtMost(1.05),
        fvu_ratio, AYONRINDE,
    ),
)  # fmt: skip
