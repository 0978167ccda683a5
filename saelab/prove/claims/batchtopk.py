"""BatchTopK: its inference threshold keeps L0, and a row's code does not depend on the rows beside it."""

import torch

from saelab.prove.claim import AtLeast, AtMost, Claim
from saelab.prove.fit import Fitted, fit

STEPS, K = 3000, 8
BUSSMANN = "Bussmann et al. 2024"


def easy(seed: int) -> Fitted:
    return fit("easy", seed, steps=STEPS, variant="batchtopk", d_sae=256, k=K)


def off_l0(seed: int) -> float:
    """|L0 / k - 1| with the threshold, on held-out rows."""
    return abs(easy(seed).scores.l0 / K - 1)


def changed_rows(seed: int) -> float:
    """Share of rows whose code differs when each is encoded alone."""
    fitted = easy(seed)
    x = fitted.bed.draw(64, 1).x
    with torch.no_grad():
        together = fitted.sae.encode_sparse(x).dense()
        alone = torch.cat([fitted.sae.encode_sparse(row.unsqueeze(0)).dense() for row in x])
    return ((together > 0) != (alone > 0)).any(dim=1).double().mean().item()


CLAIMS = (
    Claim(
        "batchtopk-mcc", "batchtopk", "easy", "MCC at k = 8", AtLeast(0.90),
        lambda seed: easy(seed).scores.mcc, "calibrated without AuxK: .905",
    ),
    Claim("batchtopk-l0", "batchtopk", "easy", "|L0 / k - 1| with the threshold", AtMost(0.05), off_l0, BUSSMANN),
    Claim(
        "batchtopk-alone", "batchtopk", "easy", "rows whose code depends on the others", AtMost(0.0), changed_rows,
        BUSSMANN,
    ),
)  # fmt: skip
