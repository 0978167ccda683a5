"""Stability: which features another training finds again, and how many random dictionaries would share.

Features of this SAE are matched one to one with those of another of the same site, so that the sum of the cosines of
their decoder rows is largest (Hungarian). A feature fires one way only, so a row and its opposite do not match.

    matched cosine    mean over the pairs
    shared            share of the pairs with a cosine of 0.7 or more
    MMCS              mean over features of the largest cosine with any feature of the other SAE

The floor of each is that of random rows with the covariance of the other SAE's: rows crowd into the directions in which
activations vary, and a floor of evenly spread rows would be too low. Both stand beside the figure.
"""

from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

import torch
from jaxtyping import Float
from pydantic import Field
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from saelab.config import Settings
from saelab.contracts import Progress, Silent
from saelab.errors import CheckpointError, EvalSkipped
from saelab.evals.subject import Figure, Subject
from saelab.intervene import sites
from saelab.sae import SAE

NEEDS = ("checkpoints",)
SOURCE = "Paulo & Belrose 2025, SAEs trained on the same data learn different features; Sharkey et al. 2022 (MMCS)"
METRICS = {
    "matched_cosine": "mean cosine of decoder rows, features matched one to one (Hungarian), mean over the other SAEs",
    "shared": "share of the matched pairs with a cosine of 0.7 or more",
    "mmcs": "mean over features of the largest cosine with any feature of the other SAE",
    "matched_cosine_floor": "the same of random rows with the other SAE's covariance",
    "shared_floor": "the same",
    "mmcs_floor": "the same",
    "matched_cosine_floor_even": "the same of random rows spread evenly over the sphere",
}
SHARED = 0.7


class Config(Settings):
    features: int = Field(
        4096, gt=0, description="Features of each SAE to match, drawn at random where there are more: time grows cubed."
    )
    seed: int = Field(0, description="Of the random dictionaries, and of the draw.")


@dataclass(frozen=True)
class Found:
    """Of one pair of dictionaries."""

    matched_cosine: float
    shared: float
    mmcs: float


@dataclass(frozen=True)
class Pair:
    """This SAE beside another one, and beside random ones."""

    other: str
    found: Found
    floor: Found
    even: Found


@dataclass(frozen=True)
class Result:
    """This SAE beside all others."""

    features: int
    seed: int
    pairs: tuple[Pair, ...]

    def figures(self) -> list[Figure]:
        """One row per metric, means over the others; n counts features."""
        means = {
            **{name: mean(getattr(p.found, name) for p in self.pairs) for name in asdict(self.pairs[0].found)},
            **{
                f"{name}_floor": mean(getattr(p.floor, name) for p in self.pairs)
                for name in asdict(self.pairs[0].floor)
            },
            "matched_cosine_floor_even": mean(p.even.matched_cosine for p in self.pairs),
        }
        return [Figure(name, means[name], self.features, self.seed) for name in METRICS]

    def table(self) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Column names and one row per other SAE."""
        columns = ("other", "matched cosine", "floor", "even floor", "shared", "floor", "MMCS", "floor")
        return columns, [
            (p.other, p.found.matched_cosine, p.floor.matched_cosine, p.even.matched_cosine,
             p.found.shared, p.floor.shared, p.found.mmcs, p.floor.mmcs)
            for p in self.pairs
        ]  # fmt: skip

    def summary(self) -> list[str]:
        """The lines to read when there is time for no more."""
        shared, floor = (mean(getattr(p, part).shared for p in self.pairs) for part in ("found", "floor"))
        return [f"{shared:.1%} of features are found again (cosine >= {SHARED:g}); random dictionaries: {floor:.1%}"]

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return asdict(self)


def run(subject: Subject, cfg: Config, progress: Progress | None = None) -> Result:
    """Match the subject's features with those of every other SAE of its site."""
    progress = progress or Silent()
    subject.sae.require_rows("stability")
    others = [(name, sae) for name, sae in subject.others if comparable(subject.sae, sae)]
    if not others:
        raise EvalSkipped("needs another checkpoint of the same site and width beside this one")
    progress.start("matching features", 3 * len(others), "pairs")
    pairs = []
    for name, sae in others:
        random = torch.Generator().manual_seed(cfg.seed)
        mine, theirs = (_rows(each, cfg.features, random) for each in (subject.sae, sae))
        found = []
        for dictionary in (theirs, like(theirs, random), torch.randn(theirs.shape, generator=random)):
            found.append(matched(mine, dictionary))
            progress.advance(1)
        pairs.append(Pair(name, *found))
    return Result(min(cfg.features, subject.sae.cfg.d_sae), cfg.seed, tuple(pairs))


def comparable(one: SAE, other: SAE) -> bool:
    """Whether both write the same site of the same model."""
    try:
        same = sites(one)[1] == sites(other)[1]
    except CheckpointError:
        return False
    model = [sae.metadata.get("model_fingerprint") for sae in (one, other)]
    return same and other.reproduces_rows and one.cfg.width_out == other.cfg.width_out and model[0] == model[1]


def _rows(sae: SAE, most: int, random: torch.Generator) -> Float[Tensor, "n d"]:
    W = sae.W_dec.detach().float().cpu()
    return W if len(W) <= most else W[torch.randperm(len(W), generator=random)[:most]]


def like(W: Float[Tensor, "n d"], random: torch.Generator) -> Float[Tensor, "n d"]:
    """Gaussian rows with the mean and covariance of those of W."""
    centred = W - W.mean(dim=0)
    spread = torch.randn(len(W), len(W), generator=random) / max(1, len(W) - 1) ** 0.5
    return W.mean(dim=0) + spread @ centred


def matched(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Found:
    """Figures of two dictionaries; rows need not be of unit length."""
    near = torch.nn.functional.normalize(a, dim=1) @ torch.nn.functional.normalize(b, dim=1).t()
    pairs = near[linear_sum_assignment(-near.double().numpy())]
    return Found(pairs.mean().item(), (pairs >= SHARED).double().mean().item(), near.amax(dim=1).mean().item())
