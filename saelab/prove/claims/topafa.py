"""top-AFA: codes are as long as their rows, closer so than TopK's of the same L0, and k is the nearest there is."""

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.metrics import eps_lbo
from saelab.prove.claim import AtMost, Claim
from saelab.prove.fit import Fitted, fit
from saelab.sae import SAE

STEPS, ROWS = 1500, 8192
LEE = "Lee et al. 2025"


def easy(seed: int) -> Fitted:
    return fit("easy", seed, steps=STEPS, variant="topafa", d_sae=256)


def wanted_and_found(fitted: Fitted, rows: int = ROWS) -> tuple[Float[Tensor, "rows d"], Float[Tensor, "rows d_sae"]]:
    """x - b_dec and f of held-out rows."""
    x = fitted.bed.draw(rows, 1).x
    with torch.no_grad():
        return x - fitted.sae.b_dec, fitted.sae.encode_sparse(x).dense()


def off_length(seed: int) -> float:
    """Median of | |f| / |x - b_dec| - 1 |."""
    x, f = wanted_and_found(easy(seed))
    return (f.norm(dim=1) / x.norm(dim=1) - 1).abs().median().item()


def lbo_ratio(seed: int) -> float:
    """Its eps-LBO as a multiple of that of a TopK SAE whose k is its mean L0, rounded."""
    mine = easy(seed)
    theirs = fit("easy", seed, steps=STEPS, variant="topk", d_sae=256, k=max(1, round(mine.scores.l0)))
    lbo = [eps_lbo(*wanted_and_found(fitted), fitted.sae.cfg.d_sae) for fitted in (mine, theirs)]
    return lbo[0] / lbo[1]


def other_counts(seed: int, rows: int = 1000) -> float:
    """Rows, of a thousand, where another number of features is kept than a plain loop finds."""
    fitted = easy(seed)
    sae: Any = copy.deepcopy(fitted.sae).double()
    x = fitted.bed.draw(rows, 1).x.double()
    kept = sae.encode_sparse(x).l0.tolist()
    return float(sum(kept[i] != by_loop(sae, x[i]) for i in range(rows)))


def by_loop(sae: SAE, x: Float[Tensor, "d"]) -> int:
    """How many features bring the length of the code closest to the row's."""
    pre, length = (x - sae.b_dec) @ sae.W_enc + sae.b_enc, (x - sae.b_dec).norm().item()
    best, squares = (float("inf"), 0), 0.0
    for k, value in enumerate(sorted((v for v in pre.tolist() if v > 0), reverse=True), 1):
        squares += value * value
        best = min(best, (abs(squares**0.5 - length), k))
    return best[1]


CLAIMS = (
    Claim(
        "topafa-k", "topafa", "easy", "rows of 1000 whose k a plain loop does not find", AtMost(0.0), other_counts, LEE
    ),
    Claim("topafa-length", "topafa", "easy", "| |f| / |x - b_dec| - 1 |, median", AtMost(0.05), off_length, LEE),
    Claim("topafa-lbo", "topafa", "easy", "eps-LBO / TopK's at the same mean L0", AtMost(0.5), lbo_ratio, LEE),
)  # fmt: skip
