"""How much of the truth an SAE found: directions, and when they fire.

Latents are matched to true features one to one, so that the sum of |cos(W_dec[i], feature)| is largest (Hungarian).

    mcc          mean |cos| of the matched pairs; `mcc_floor` is that of as many random unit rows
    precision, recall, f1    of "fires", over all matched pairs and rows taken together
    parent_recall            of the latent that tells a parent best (by F1): share of the rows with one of the parent's
                             children on which it fires; mean over the parents that have children
    uniqueness   true features that are the nearest of some latent, as a share of the most there could be
    max_cosine   mean over latents of the largest |cos| with another latent
    shrinkage    mean of |x_hat| / |x| over rows that are not 0
    dead_share   latents that fire on none of the rows

Chance depends on widths and counts alone: a random dictionary of 256 scores 0.25 against `easy`. Read parent_recall at
equal L0 and beside `parent_f1` only: a latent that fires everywhere has recall 1.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from saelab.metrics import dead_share, f1, fvu, max_cosine
from saelab.sae import SAE
from saelab.synthetic.beds.base import Bed, generator, random_directions

ROWS = 8192


@dataclass(frozen=True)
class Scores:
    """See the module; of `rows` fresh rows."""

    rows: int
    fvu: float
    l0: float
    true_l0: float
    mcc: float
    mcc_floor: float
    precision: float
    recall: float
    f1: float
    parent_recall: float | None  # None where no feature has a parent
    parent_f1: float | None
    uniqueness: float
    max_cosine: float
    shrinkage: float
    dead_share: float


@dataclass(frozen=True)
class Match:
    """Pairs of a latent and a true feature."""

    latent: Int[Tensor, "pairs"]
    feature: Int[Tensor, "pairs"]
    cosine: Float[Tensor, "pairs"]

    @property
    def mean(self) -> float:
        return self.cosine.mean().item()


@torch.no_grad()
def score(sae: SAE, bed: Bed, seed: int = 1, rows: int = ROWS) -> Scores:
    """Scores of an SAE that reads and writes the bed's raw rows, on rows of draw `seed` (1: the held-out draw)."""
    sample = bed.draw(rows, seed)
    codes = sae.encode_sparse(sample.x)
    x_hat, f = sae.decode_sparse(codes, sample.x), codes.dense()
    W, fires, true = sae.W_dec.float(), f > 0, sample.f > 0
    pairs = match(W, bed.features)
    parents = parent_scores(fires, true, bed.parent)
    return Scores(
        rows=rows,
        fvu=fvu(sample.x, x_hat),
        l0=fires.sum(dim=1).double().mean().item(),
        true_l0=true.sum(dim=1).double().mean().item(),
        mcc=pairs.mean,
        mcc_floor=mcc_floor(len(W), bed.features),
        **support(fires, true, pairs),
        parent_recall=None if parents is None else parents[0],
        parent_f1=None if parents is None else parents[1],
        uniqueness=uniqueness(W, bed.features),
        max_cosine=max_cosine(W),
        shrinkage=shrinkage(sample.x, x_hat),
        dead_share=dead_share(fires.sum(dim=0)),
    )


def cosines(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """|cos| of every row of a with every row of b; 0 for rows of length 0."""
    return (torch.nn.functional.normalize(a, dim=1) @ torch.nn.functional.normalize(b, dim=1).t()).abs()


def match(W_dec: Float[Tensor, "d_sae d"], features: Float[Tensor, "n d"]) -> Match:
    """The best one-to-one matching; what is left over of the longer list has no partner."""
    near = cosines(W_dec, features)
    latent, feature = (torch.from_numpy(side) for side in linear_sum_assignment(-near.double().numpy()))
    return Match(latent, feature, near[latent, feature])


def mcc_floor(d_sae: int, features: Float[Tensor, "n d"], seed: int = 0) -> float:
    """MCC of as many random directions."""
    return match(random_directions(d_sae, features.shape[1], generator(seed)), features).mean


def support(fires: Bool[Tensor, "rows d_sae"], true: Bool[Tensor, "rows n"], pairs: Match) -> dict[str, float]:
    """Precision, recall and F1 of the matched latents' firing; true features without a partner count as missed."""
    both = int((fires[:, pairs.latent] & true[:, pairs.feature]).sum())
    said, there = int(fires[:, pairs.latent].sum()), int(true.sum())
    return {
        "precision": both / max(1, said),
        "recall": both / max(1, there),
        "f1": f1(float(both), float(said - both), float(there - both)),
    }


def parent_scores(
    fires: Bool[Tensor, "rows d_sae"], true: Bool[Tensor, "rows n"], parent: Int[Tensor, "n"]
) -> tuple[float, float] | None:
    """(recall given a child, F1) of each parent's best latent, means over parents; None where there is none."""
    recalls, scores = [], []
    said = fires.sum(dim=0).double()
    for one in parent[parent >= 0].unique().tolist():
        on = true[:, one]
        with_child = on & true[:, parent == one].any(dim=1)
        if not with_child.any():
            continue
        both = fires[on].sum(dim=0).double()
        every = 2 * both / (said + on.sum()).clamp_min(1)
        best = int(every.argmax())
        recalls.append(fires[with_child, best].double().mean().item())
        scores.append(every[best].item())
    return (float(np.mean(recalls)), float(np.mean(scores))) if recalls else None


def uniqueness(W_dec: Float[Tensor, "d_sae d"], features: Float[Tensor, "n d"]) -> float:
    """Distinct nearest features of all latents, as a share of the most there could be."""
    nearest = cosines(W_dec, features).argmax(dim=1)
    return len(nearest.unique()) / min(len(W_dec), len(features))


def shrinkage(x: Float[Tensor, "rows d"], x_hat: Float[Tensor, "rows d"]) -> float:
    """How long reproductions are beside their rows: 1 where nothing is lost on average."""
    length = x.norm(dim=1)
    return (x_hat.norm(dim=1) / length)[length > 0].mean().item()
