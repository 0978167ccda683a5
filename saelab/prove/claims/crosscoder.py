"""Crosscoders: one latent per feature, whatever sites it lives at, and decoder norms that tell at which.

Three sites in units of 1, 30 and 0.01 see the features of the bed along random directions of their own. Every other
feature is at all three; the rest are at one site each.
"""

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.config import settings
from saelab.contracts import canonical_site
from saelab.prove.claim import AtLeast, AtMost, Claim
from saelab.sae import SAE
from saelab.sae.sites import Sites
from saelab.synthetic import Bed, SyntheticRows, bed
from saelab.synthetic.beds.base import Sample, generator, random_directions
from saelab.synthetic.rows import HELDOUT
from saelab.synthetic.scores import match
from saelab.train import TrainConfig
from saelab.train.normalise import SAMPLE, Normalisation
from saelab.train.plans import plans
from saelab.train.sites import JoinedRows
from saelab.train.trainee import Trainee

NAMES = tuple(canonical_site(f"resid_post.{layer}") for layer in range(3))
UNITS = (1.0, 30.0, 0.01)
STEPS, BATCH, K, LATENTS = 3000, 512, 8, 256
OWN = 0.9  # share of a latent's norms from which it is a site's own
LINDSEY = "Lindsey et al. 2024"


class Layers(SyntheticRows):
    """The bed's activations as three sites see them."""

    sites = NAMES

    def __init__(self, one: Bed) -> None:
        super().__init__(one)
        self.home = torch.where(torch.arange(one.n) % 2 == 0, -1, torch.arange(one.n) // 2 % 3)  # -1: everywhere
        self.directions: dict[str, Float[Tensor, "n d"]] = {}
        for place, site in enumerate(NAMES):
            lives = (self.home < 0) | (self.home == place)
            drawn = random_directions(one.n, one.d, generator(one.cfg.seed, 7, place))
            self.directions[site] = UNITS[place] * drawn * lives.unsqueeze(1)

    def _named(self, sites: list[str], sample: Sample) -> dict[str, Tensor]:  # type: ignore[override]
        return {site: sample.f @ self.directions[site] for site in sites}


@dataclass(frozen=True)
class Fitted:
    """A crosscoder in units of its sites, and the rows it was trained on."""

    sae: SAE
    rows: Layers
    sites: Sites


@cache
def fitted(seed: int) -> Fitted:
    rows = Layers(bed({"bed": "easy", "seed": seed}))
    train = {"rows": STEPS * BATCH, "batch": BATCH, "seed": seed}
    wanted = {"site": list(NAMES), "sae": {"variant": "topk", "d_sae": LATENTS, "k": K}, "train": train}
    cfg = settings(TrainConfig, {**wanted, "out": "unwritten"}, where="prove")
    (plan,) = plans(cfg, rows)
    source = JoinedRows(rows).measured([plan.site])
    x = source.sample([plan.site], SAMPLE)[plan.site]
    with torch.random.fork_rng(plan.cuda_devices):
        trainee = Trainee(plan, Normalisation.of(x, x))
        batches = source.batches([plan.site], BATCH, seed)
        for _ in range(STEPS):
            x = next(batches)[plan.site]
            trainee.descend(trainee.normalisation.batch(x, x))
    trainee.check()
    return Fitted(trainee.folded(), rows, source.parts(plan.site))


def mcc(seed: int) -> float:
    """Of decoder rows over all sites, in units of each."""
    one = fitted(seed)
    return match(one.sae.W_dec.detach(), one.sites.join(one.rows.directions)).mean


def told_apart(seed: int) -> float:
    """Share of the features of one site whose latent has OWN of its norms there."""
    one = fitted(seed)
    pairs = match(one.sae.W_dec.detach(), one.sites.join(one.rows.directions))
    norms = torch.stack([own.norm(dim=1) for own in one.sites.cut(one.sae.W_dec.detach()).values()], dim=1)
    home = one.rows.home[pairs.feature]
    at_home = (norms / norms.sum(dim=1, keepdim=True))[pairs.latent].gather(1, home.clamp_min(0).unsqueeze(1))
    return (at_home.squeeze(1)[home >= 0] >= OWN).double().mean().item()


@torch.no_grad()
def uneven(seed: int) -> float:
    """How far the FVU of the worst site is above the mean of all, as a share of it."""
    one = fitted(seed)
    x = one.sites.join(one.rows._named(list(NAMES), one.rows.bed.draw(8192, HELDOUT)))
    error, spread = ((part.split(one.sites.widths, dim=1)) for part in (one.sae(x) - x, x - x.mean(dim=0)))
    found = torch.tensor([(a.square().sum() / b.square().sum()).item() for a, b in zip(error, spread, strict=True)])
    return (found.max() / found.mean() - 1).item()


CLAIMS = (
    Claim(
        "crosscoder-mcc", "crosscoder", "easy", "MCC over three sites at k = 8",
        AtLeast(0.90), mcc, "as of topk on one site", slow=True,
    ),
    Claim(
        "crosscoder-own", "crosscoder", "easy", "features of one site whose latent has 90 % of its norms there",
        AtLeast(0.90), told_apart, LINDSEY, slow=True,
    ),
    Claim(
        "crosscoder-units", "crosscoder", "easy", "worst site's FVU over the mean, less 1; units 1, 30, 0.01",
        AtMost(0.10), uneven, LINDSEY, slow=True,
    ),
)  # fmt: skip
