"""Mutual Choice: BatchTopK to the bit; AuxK on the underused leaves fewer of them than AuxK on the dead."""

from typing import Any

import torch

from saelab.prove.claim import AtMost, Claim
from saelab.prove.fit import Fitted, fit

AYONRINDE = "Ayonrinde 2024"
BATCH = 512


def easy(variant: str, seed: int, steps: int, **sae: Any) -> Fitted:
    """Half as many active latents as features that fire, so that some features are left to none.

    A feature is dead when it has not fired for a tenth of the run: what AuxK knows of without the law of Zipf.
    """
    train = (("dead_after", steps * BATCH // 10),)
    return fit("easy", seed, steps=steps, batch=BATCH, train=train, variant=variant, d_sae=256, k=4, **sae)


def changed_entries(seed: int) -> float:
    """Entries of the codes of 2048 rows that differ from BatchTopK's after the same training, in either mode."""
    mine, theirs = (easy(name, seed, 200).trainee.sae for name in ("mutual_choice", "batchtopk"))
    x = torch.randn(2048, mine.cfg.d_in, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        different = [(mine.train(mode).encode(x) != theirs.train(mode).encode(x)).sum() for mode in (True, False)]
    return float(sum(different))


def underused_share(fitted: Fitted, rows: int = 32_768) -> float:
    """Share of features that fire, on held-out rows, less than a tenth as often as Zipf's law gives their rank."""
    fires = torch.zeros(fitted.sae.cfg.d_sae)
    for x in fitted.bed.draw(rows, 1).x.split(4096):
        fires += (fitted.sae.encode_sparse(x).dense() > 0).sum(dim=0)
    sae: Any = fitted.sae
    return sae.underused(fires / rows).double().mean().item()


def underused_left(seed: int) -> float:
    """Their share with AuxK on the underused, as a multiple of that with AuxK on the dead."""
    shares = [underused_share(easy("mutual_choice", seed, 1200, aux_on=which)) for which in ("underused", "dead")]
    return shares[0] / shares[1]


CLAIMS = (
    Claim(
        "mutual_choice-is-batchtopk", "mutual_choice", "easy", "entries that differ from BatchTopK's", AtMost(0.0),
        changed_entries, AYONRINDE,
    ),
    Claim(
        "mutual_choice-underused", "mutual_choice", "easy",
        "underused features, k = 4: aux_on underused / dead for a tenth of the run", AtMost(0.5), underused_left,
        AYONRINDE,
    ),
)  # fmt: skip
