"""Matching pursuit: finds parents and children of a tree, and explains more the longer it runs."""

import copy

import torch

from saelab.metrics import fvu
from saelab.prove.claim import AtLeast, AtMost, Claim
from saelab.prove.claims import matryoshka
from saelab.prove.fit import Fitted

COSTA = "Costa et al. 2025"


def tree(seed: int) -> Fitted:
    return matryoshka.tree(seed, variant="mp")


@torch.no_grad()
def longer(seed: int) -> float:
    """FVU of the same model after twice as many steps, as a share of that after k."""
    fitted = tree(seed)
    x = fitted.bed.draw(4096, 1).x
    twice = copy.deepcopy(fitted.sae)
    twice.cfg = twice.cfg.model_copy(update={"steps": 2 * fitted.sae.cfg.k})  # type: ignore[attr-defined]
    return fvu(x, twice(x)) / fvu(x, fitted.sae(x))


CLAIMS = (
    Claim("mp-mcc", "mp", "tree", "MCC", AtLeast(0.90), lambda seed: tree(seed).scores.mcc, COSTA),
    Claim(
        "mp-gain", "mp", "tree", "MCC less BatchTopK's at equal L0", AtLeast(0.2),
        lambda seed: tree(seed).scores.mcc - matryoshka.plain(seed).scores.mcc, COSTA,
    ),
    Claim("mp-longer", "mp", "tree", "FVU with twice the steps / with k", AtMost(0.999), longer, COSTA),
)  # fmt: skip
