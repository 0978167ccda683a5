"""Fidelity: how much of the site, and of what the model does with it, an SAE keeps.

On held-out documents: FVU, MSE, cosine and L0 of the rows; density of the features; and the model's loss and
next-token distribution with the site replaced by the SAE's reproduction, by zeros, and by the site's mean row:

    CE recovered = (CE_ablated - CE_spliced) / (CE_ablated - CE)        KL recovered = 1 - KL_spliced / KL_ablated

`saelab.metrics` defines them. BOS, padding and special tokens keep their activation and are in no figure; a
prediction counts when both the token it is made at and the token it is of do.
Core figures of SAEBench (Karvonen et al. 2025), which gives CE and KL recovered against zero ablation only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from saelab.config import Settings
from saelab.contracts import Codes, Progress, Silent
from saelab.evals.heldout import heldout_tokens, reading, require_same_model
from saelab.evals.losses import Losses
from saelab.evals.subject import Figure, Subject
from saelab.intervene import sites
from saelab.lm import LanguageModel
from saelab.metrics import Reconstruction, dead_share, density
from saelab.sae import SAE
from saelab.store import Store

NEEDS = ("model", "text")
SOURCE = "Karvonen et al. 2025, SAEBench (core), with mean ablation beside zero ablation"
METRICS = {
    "fvu": "fraction of variance unexplained, 1 - explained variance",
    "cosine": "mean cosine of a row and its reproduction",
    "mse": "mean squared error of a row, summed over its width",
    "l0": "mean number of features that fire on a token",
    "dead_share": "share of features that fire on none of the tokens",
    "ce": "the model's own loss, nats per counted prediction",
    "ce_spliced": "its loss with the site replaced by the reproduction",
    "ce_zero": "its loss with the site replaced by zeros",
    "ce_mean": "its loss with the site replaced by its mean row",
    "ce_recovered": "(ce_zero - ce_spliced) / (ce_zero - ce)",
    "ce_recovered_mean": "(ce_mean - ce_spliced) / (ce_mean - ce)",
    "kl_spliced": "KL(model || model with the reproduction), nats per prediction",
    "kl_recovered": "1 - kl_spliced / the KL of zero ablation",
    "kl_recovered_mean": "1 - kl_spliced / the KL of mean ablation",
}
_OF_PREDICTIONS = ("ce", "kl")  # figures that begin so are means over predictions, the others over tokens

LOGITS_AT_ONCE = 2**23  # numbers in the logits of one batch: 32 MB in fp32
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
EDGES = tuple(float(exponent) / 2 for exponent in range(-12, 1))  # log10 of density, half a decade each


class Config(Settings):
    tokens: int = Field(20_000, gt=0, description="Held-out tokens to count.")


@dataclass(frozen=True)
class Density:
    """How often features fire: log10 density of the live ones in bins, and quantiles over all features."""

    log10_edges: tuple[float, ...]
    counts: tuple[int, ...]
    quantiles: dict[str, float]


@dataclass(frozen=True)
class Result:
    """Fidelity of one SAE. Losses are mean nats per counted prediction."""

    site: str
    tokens: int
    predictions: int
    d_sae: int
    fvu: float
    mse: float
    cosine: float
    l0: float
    dead: int  # features that fired on none of `tokens`
    dead_share: float
    density: Density
    ce: float
    ce_spliced: float
    ce_zero: float
    ce_mean: float
    ce_recovered: float  # against zero ablation
    ce_recovered_mean: float
    kl_spliced: float
    kl_zero: float
    kl_mean: float
    kl_recovered: float
    kl_recovered_mean: float

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, float | int, str]]]:
        """Column names and rows: figure, value, what it is."""
        return ("figure", "value", "what it is"), [
            ("FVU", self.fvu, f"fraction of variance unexplained, {self.tokens:,} held-out tokens"),
            ("cosine", self.cosine, "mean cosine of a row and its reproduction"),
            ("MSE", self.mse, "mean squared error of a row, summed over its width"),
            ("L0", self.l0, "mean number of features that fire on a token"),
            ("dead share", self.dead_share, f"{self.dead:,} of {self.d_sae:,} fire on none of these tokens"),
            ("median density", self.density.quantiles["0.5"], "share of tokens on which the median feature fires"),
            ("CE", self.ce, f"the model's own loss, nats, {self.predictions:,} predictions"),
            ("CE spliced", self.ce_spliced, "with the site replaced by its reproduction"),
            ("CE zero", self.ce_zero, "with the site replaced by zeros"),
            ("CE mean", self.ce_mean, "with the site replaced by its mean row"),
            ("CE recovered", self.ce_recovered, "of what zero ablation destroys"),
            ("CE recovered, mean", self.ce_recovered_mean, "of what mean ablation destroys"),
            ("KL spliced", self.kl_spliced, "KL(model || spliced), nats"),
            ("KL recovered", self.kl_recovered, "against zero ablation"),
            ("KL recovered, mean", self.kl_recovered_mean, "against mean ablation"),
        ]

    def summary(self) -> list[str]:
        """The lines to read when there is time for no more."""
        return [f"CE recovered {self.ce_recovered:.3f}, FVU {self.fvu:.3f}, L0 {self.l0:.1f}, {self.dead:,} dead"]

    def figures(self) -> list[Figure]:
        """One row per metric."""
        n = {True: self.predictions, False: self.tokens}
        return [Figure(name, getattr(self, name), n[name.startswith(_OF_PREDICTIONS)]) for name in METRICS]

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return asdict(self)


def run(subject: Subject, cfg: Config, progress: Progress | None = None) -> Result:
    """Measure the subject's SAE on held-out documents of the corpus of its store."""
    return _result(subject.sae, *counted_once(subject, cfg.tokens, progress or Silent()))


def counted_once(subject: Subject, tokens: int, progress: Progress) -> tuple["Rows", dict[str, Any]]:
    """`counted` of the subject's SAE, kept for the next evaluation that asks for as many tokens."""
    key = ("fidelity", tokens)
    if key not in subject.kept:
        (subject.kept[key],) = counted([subject.sae], subject.lm, subject.store, tokens, progress)
    return subject.kept[key]  # type: ignore[return-value]


def measure(sae: SAE, lm: LanguageModel, store: Store, cfg: Config, progress: Progress | None = None) -> Result:
    """Measure `sae`, which reads activations of `lm`, on held-out documents of the corpus of `store`."""
    return measure_all([sae], lm, store, cfg, progress)[0]


def measure_all(
    saes: Sequence[SAE], lm: LanguageModel, store: Store, cfg: Config, progress: Progress | None = None
) -> list[Result]:
    """The same of several SAEs: what does not depend on the SAE is computed once."""
    found = counted(saes, lm, store, cfg.tokens, progress or Silent())
    return [_result(sae, *one) for sae, one in zip(saes, found, strict=True)]


def _result(sae: SAE, rows: "Rows", losses: dict[str, Any]) -> Result:
    return Result(site=rows.read, d_sae=sae.cfg.d_sae, **rows.figures(), **losses)


def counted(
    saes: Sequence[SAE], lm: LanguageModel, store: Store, tokens: int, progress: Progress
) -> list[tuple["Rows", dict[str, Any]]]:
    """What each SAE makes of `tokens` held-out tokens, and what the model then makes of them (`Losses.figures`)."""
    for sae in saes:
        sae.require_rows("fidelity")
        require_same_model(sae, lm, store)
    length = store.config["context"] or lm.context
    batch = max(1, min(16, LOGITS_AT_ONCE // (length * lm.n_vocab)))
    batches = heldout_tokens(lm, store, tokens, batch, progress)
    rows = [Rows(sae, lm) for sae in saes]
    of = "rows of the SAE" if len(saes) == 1 else f"rows of {len(saes)} SAEs"
    for part in reading(batches, lm, progress, of):
        acts = lm.activations(part.ids, sorted({site for one in rows for site in (one.read, one.write)}))
        for one in rows:
            one.add({site: x[part.counted] for site, x in acts.items()})
    losses = Losses(saes, {one.write: one.mean for one in rows}, lm)
    for part in reading(batches, lm, progress, of.replace("rows of", "loss with") + " in place"):
        losses.add(part)
    return [(one, losses.figures(i)) for i, one in enumerate(rows)]


class Rows:
    """What the SAE makes of the rows."""

    def __init__(self, sae: SAE, lm: LanguageModel) -> None:
        self.sae = sae
        self.read, self.write = sites(sae)
        self.reconstruction = Reconstruction()
        self.fired = torch.zeros(sae.cfg.d_sae, dtype=torch.int64)
        self.activation = 0.0  # sum over rows and features
        self.sum = torch.zeros(lm.d_site(self.write), dtype=torch.float64)

    @torch.inference_mode()
    def add(self, acts: Mapping[str, Float[Tensor, "rows _"]]) -> None:
        """Count rows, given at the sites that are read and written."""
        x, y = (acts[site].to(self.sae.W_enc) for site in (self.read, self.write))
        codes = self.sae.encode_sparse(x)
        self.reconstruction.add(y, self.sae.decode_sparse(codes, x))
        self.fired += firing_counts(codes).cpu()
        self.activation += codes.val[codes.mask].clamp_min(0).sum().item()
        self.sum += y.sum(dim=0, dtype=torch.float64).cpu()

    @property
    def mean(self) -> Tensor:
        """The mean row of the site that is replaced, [d_out]."""
        return (self.sum / self.reconstruction.rows).float()

    def figures(self) -> dict[str, Any]:
        """Those of a Result that need no model."""
        sample, n = self.reconstruction, self.reconstruction.rows
        return {
            "tokens": n,
            "fvu": sample.fvu,
            "mse": sample.mse,
            "cosine": sample.cosine,
            "l0": self.fired.sum().item() / n,
            "dead": int((self.fired == 0).sum()),
            "dead_share": dead_share(self.fired),
            "density": _density(self.fired, n),
        }


def firing_counts(codes: Codes) -> Int[Tensor, "d_sae"]:
    """On how many rows each feature is above zero."""
    return torch.bincount(codes.idx[codes.mask & (codes.val > 0)].long(), minlength=codes.n)


def _density(fired: Int[Tensor, "d_sae"], tokens: int) -> Density:
    shares = density(fired, tokens)
    live = shares[shares > 0].log10()
    counts = torch.histogram(live.clamp(EDGES[0], EDGES[-1]), torch.tensor(EDGES)).hist.int().tolist()
    quantiles = {str(q).removesuffix(".0"): torch.quantile(shares, q).item() for q in QUANTILES}
    return Density(EDGES, tuple(counts), quantiles)
