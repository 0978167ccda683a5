"""Core: SAEBench's figures of sparsity, reproduction and what the model still predicts, on held-out documents.

    CE recovered = (CE_zero - CE_spliced) / (CE_zero - CE)            SAEBench: ce_loss_score
    KL recovered = (KL_zero - KL_spliced) / KL_zero                   SAEBench: kl_div_score

Definitions are those of `saelab.metrics`. Four differ from SAEBench 0.6: explained variance is 1 - FVU of the whole
sample (SAEBench's takes the square of mean squares where the square of means belongs, and with it a sum for a mean over
the width); relative bias is one ratio, not a mean of ratios per batch; KL is of the positions that CE is of (SAEBench
takes the last of each context too); and BOS and padding are neither counted nor replaced (SAEBench zeroes them with the
rest in its ablation). Legacy explained variance is SAEBench's, per batch.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from saelab.config import Settings
from saelab.contracts import Progress, Silent
from saelab.evals import fidelity
from saelab.evals.subject import Figure, Subject, explained
from saelab.metrics import density, max_cosine

NEEDS = ("model", "text")
SOURCE = "Karvonen et al. 2025, SAEBench (core)"
METRICS = {
    "ce_recovered": "(CE_zero - CE_spliced) / (CE_zero - CE): 1 keeps all of what zero ablation destroys",
    "ce": "the model's own loss, nats per counted prediction",
    "ce_spliced": "its loss with the site replaced by the reproduction",
    "ce_zero": "its loss with the site replaced by zeros",
    "ce_recovered_mean": "CE recovered against mean ablation, which is harder to beat",
    "kl_recovered": "(KL_zero - KL_spliced) / KL_zero",
    "kl_spliced": "KL(model || model with the reproduction), nats per prediction",
    "kl_zero": "KL(model || model with zeros)",
    "l0": "mean number of features that fire on a token",
    "l1": "mean over tokens of the sum of activations",
    "fvu": "fraction of variance unexplained, of the whole sample with the whole sample's mean",
    "explained_variance": "1 - FVU",
    "explained_variance_legacy": "mean over rows of 1 - squared error / squared distance to the batch's mean row",
    "mse": "mean squared error of a row, summed over its width",
    "cosine": "mean cosine of a row and its reproduction",
    "l2_ratio": "mean of |x_hat| / |x|",
    "relative_bias": "sum |x_hat|^2 / sum x.x_hat: below 1 the SAE shrinks",
    "alive_share": "share of features that fire on at least one of the tokens",
    "density_median": "share of tokens on which the median feature fires",
    "density_above_1_percent": "share of features that fire on more than 1 % of the tokens",
    "density_above_10_percent": "share of features that fire on more than 10 %",
    "activation_above_1_percent": "share of all firings that are of features with a density above 1 %",
    "max_decoder_cosine": "mean over features of the largest |cos| of its decoder row with another's",
}
_OF = {"ce": "predictions", "kl": "predictions", "alive": "features", "density": "features", "max": "features"}


class Config(Settings):
    tokens: int = Field(20_000, gt=0, description="Held-out tokens to count.")


@dataclass(frozen=True)
class Result:
    """Every metric, and how often features fire."""

    tokens: int
    predictions: int
    features: int
    values: dict[str, float]
    density: fidelity.Density

    def figures(self) -> list[Figure]:
        """One row per metric; n counts tokens, predictions or features."""
        return [
            Figure(name, value, getattr(self, _OF.get(name.split("_")[0], "tokens")))
            for name, value in self.values.items()
        ]

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, float | None, str]]]:
        """Column names and rows."""
        return explained(self.figures(), METRICS)

    def summary(self) -> list[str]:
        """The lines to read when there is time for no more."""
        v = self.values
        return [
            f"CE recovered {v['ce_recovered']:.4f}, explained variance {v['explained_variance']:.4f} (legacy "
            f"{v['explained_variance_legacy']:.4f}), L0 {v['l0']:.1f}, alive {v['alive_share']:.1%}"
        ]

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return {**asdict(self), "values": {figure.metric: figure.value for figure in self.figures()}}


def run(subject: Subject, cfg: Config, progress: Progress | None = None) -> Result:
    """Measure the subject's SAE on held-out documents of the corpus of its store."""
    sae = subject.sae
    rows, losses = fidelity.counted_once(subject, cfg.tokens, progress or Silent())
    figures = {**rows.figures(), **losses}
    sample = rows.reconstruction
    own = {
        "l1": rows.activation / sample.rows,
        "explained_variance": sample.explained_variance,
        "explained_variance_legacy": sample.explained_variance_legacy,
        "l2_ratio": sample.l2_ratio,
        "relative_bias": sample.relative_bias,
        "max_decoder_cosine": max_cosine(sae.W_dec.detach().float()),
        **_densities(rows.fired, sample.rows),
    }
    values = {name: float(own[name] if name in own else figures[name]) for name in METRICS}
    return Result(sample.rows, losses["predictions"], sae.cfg.d_sae, values, figures["density"])


def _densities(fired: Int[Tensor, "d_sae"], tokens: int) -> dict[str, float]:
    shares: Float[Tensor, d_sae] = density(fired, tokens)
    return {
        "alive_share": (shares > 0).double().mean().item(),
        "density_median": torch.quantile(shares, 0.5).item(),
        "density_above_1_percent": (shares > 0.01).double().mean().item(),
        "density_above_10_percent": (shares > 0.1).double().mean().item(),
        "activation_above_1_percent": (fired[shares > 0.01].sum() / fired.sum().clamp_min(1)).item(),
    }
