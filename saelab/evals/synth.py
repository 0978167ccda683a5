"""Synth: how much of the truth an SAE found, where the rows' true features are known.

For a checkpoint that was trained on one of saelab's beds (`saelab synth`, or `source: synthetic`), which its metadata
names: the bed is built anew and fresh rows are drawn. `saelab.synthetic.scores` defines the figures.
"""

from dataclasses import asdict, dataclass
from typing import Any

from pydantic import Field

from saelab.config import Settings
from saelab.contracts import Progress, Silent
from saelab.errors import EvalSkipped
from saelab.evals.subject import Figure, Subject, explained
from saelab.sae import SAE
from saelab.synthetic import Bed, Scores, bed, score

NEEDS = ("bed",)
SOURCE = "SynthSAEBench (decoderesearch/SAELens, sae_lens/synthetic)"
METRICS = {
    "mcc": "mean |cos| of decoder rows and true directions, matched one to one (Hungarian)",
    "mcc_floor": "the same of as many random directions",
    "f1": "of firing, over all matched pairs and rows taken together",
    "precision": "of firing, over all matched pairs and rows",
    "recall": "of firing; true features without a partner count as missed",
    "parent_recall": "share of the rows with a child on which the latent fires that tells the parent best",
    "parent_f1": "F1 of that latent",
    "uniqueness": "true features that are some latent's nearest, as a share of the most there could be",
    "max_cosine": "mean over latents of the largest |cos| with another latent",
    "shrinkage": "mean of |x_hat| / |x|",
    "fvu": "fraction of variance unexplained, fresh rows",
    "l0": "mean number of latents that fire on a row",
    "true_l0": "mean number of true features that do",
    "dead_share": "share of latents that fire on none of the rows",
}
BESIDE_THE_BED = {"rows", "heldout_rows", "context"}  # what a store of synthetic rows notes beside the bed's settings


class Config(Settings):
    rows: int = Field(8192, gt=0, description="Fresh rows to score on.")
    seed: int = Field(1, ge=1, description="Of the rows; 1 is the held-out draw.")


@dataclass(frozen=True)
class Result:
    """Scores of one SAE on its bed."""

    bed: str
    seed: int
    scores: Scores

    def figures(self) -> list[Figure]:
        """One row per metric; n counts rows."""
        return [Figure(name, getattr(self.scores, name), self.scores.rows, self.seed) for name in METRICS]

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, float | None, str]]]:
        """Column names and rows."""
        return explained(self.figures(), METRICS)

    def summary(self) -> list[str]:
        """The lines to read when there is time for no more."""
        s = self.scores
        return [f"MCC {s.mcc:.3f} on {self.bed} (a random dictionary: {s.mcc_floor:.3f}), F1 of firing {s.f1:.3f}"]

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return asdict(self)


def run(subject: Subject, cfg: Config, progress: Progress | None = None) -> Result:
    """Score the subject's SAE on fresh rows of the bed it was trained on."""
    (progress or Silent()).start("rows of the bed", cfg.rows, "rows")
    found = bed_of(subject.sae)
    scores = score(subject.sae, found, cfg.seed, cfg.rows)
    (progress or Silent()).advance(cfg.rows)
    return Result(subject.sae.metadata["harvest"]["bed"], cfg.seed, scores)


def bed_of(sae: SAE) -> Bed:
    """The bed an SAE was trained on. Raises EvalSkipped for an SAE of a model's activations."""
    sae.require_rows("synth")
    made = sae.metadata.get("harvest")
    if not isinstance(made, dict) or "bed" not in made:
        raise EvalSkipped("needs an SAE of synthetic rows, whose true features are known")
    return bed({key: value for key, value in made.items() if key not in BESIDE_THE_BED}, "cfg.json: harvest")
