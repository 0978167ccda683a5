"""Unlearning: can features be clamped so that the model loses one subject and keeps the others?

Features that fire on at most a share of the retained tokens (1 % or 0.1 %) are ranked by how often they fire on the
tokens to forget; the best 10 or 20 are set to -c (25, 50, 100, 200 times their mean activation where they fire)
wherever they fire. What is known is measured by the model's own next-token accuracy, on texts that features were not
chosen on:

    forget     largest drop of the accuracy on the texts to forget, as a share of what it was, among the settings that
               keep at least 99 % of the accuracy on the retained texts
    random     the same with as many features drawn among those as rare on the retained tokens, the best setting too

The subjects are those of the text set `topic`: each is forgotten in turn and the others are retained. SAEBench asks
WMDP-bio and MMLU questions, which small models cannot answer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from statistics import mean
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from scipy import sparse
from torch import Tensor

from saelab.config import Settings
from saelab.contracts import Progress, Silent
from saelab.errors import EvalSkipped
from saelab.evals.sample import require_autoencoder
from saelab.evals.subject import Figure, Subject
from saelab.evals.texts import text_sets
from saelab.intervene import sites
from saelab.intervene.delta import activations
from saelab.lm import Edit, LanguageModel
from saelab.sae import SAE

NEEDS = ("model",)
SOURCE = "Farrell et al. 2024, Applying SAEs to unlearn knowledge; Karvonen et al. 2025, SAEBench (unlearning)"
METRICS = {
    "forget": "mean over subjects of the largest drop of accuracy, as a share, with 99 % of the others' kept",
    "forget_random": "the same with as many features drawn at random among those as rare on the retained texts",
    "retained": "mean over subjects of the accuracy on the others that is kept then, as a share",
    "accuracy": "next-token accuracy on the subjects before",
}
DENSITIES, COUNTS, CLAMPS, KEEP = (0.001, 0.01), (10, 20), (25, 50, 100, 200), 0.99


class Config(Settings):
    subjects: int = Field(4, gt=0, description="Subjects to forget, one after another.")
    least: float = Field(0.05, ge=0, description="Next-token accuracy below which a model knows nothing to forget.")
    seed: int = Field(0, description="Of the random features.")


@dataclass(frozen=True)
class Forgotten:
    """One subject: the best setting (density, features, clamp; None: none keeps the rest) and what it does."""

    subject: str
    accuracy: float
    forget: float
    retained: float
    forget_random: float
    setting: tuple[float, int, int] | None
    n: int


@dataclass(frozen=True)
class Result:
    """Every subject."""

    seed: int
    subjects: tuple[Forgotten, ...]

    def figures(self) -> list[Figure]:
        """One row per metric; n counts subjects."""
        values = {name: mean(getattr(one, name) for one in self.subjects) for name in METRICS}
        return [Figure(name, value, len(self.subjects), self.seed) for name, value in values.items()]

    def table(self) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Column names and one row per subject."""
        columns = ("subject", "accuracy", "forgotten", "retained", "random", "density, features, clamp", "predictions")
        return columns, [
            (o.subject, o.accuracy, o.forget, o.retained, o.forget_random, str(o.setting or "none keeps the rest"), o.n)
            for o in self.subjects
        ]

    def summary(self) -> list[str]:
        """The lines to read when there is time for no more."""
        v = {figure.metric: figure.value for figure in self.figures()}
        told = f"{v['forget']:.1%} of a subject is forgotten with 99 % of the rest kept"
        return [f"{told}; {v['forget_random']:.1%} with random features"]

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return asdict(self)


@torch.inference_mode()
def run(subject: Subject, cfg: Config, progress: Progress | None = None) -> Result:
    """Forget each subject of the text set in turn."""
    progress = progress or Silent()
    require_autoencoder(subject, "unlearning")
    lm, sae = subject.lm, subject.sae
    topics = next(one for one in text_sets() if one.name == "topic")
    ids = [lm.prompt(text)[: lm.context] for text in topics.texts]
    choose, seen = (Texts.read(lm, sae, ids, topics.classes, half) for half in (0, 1))
    before = seen.right(lm, {})
    if before.mean() < cfg.least:
        raise EvalSkipped(f"the model knows too little to forget: next-token accuracy {before.mean():.3f} on the texts")
    names = sorted(set(topics.classes))[: cfg.subjects]
    progress.start("forgetting", len(names), "subjects")
    found = []
    for number, name in enumerate(names):
        found.append(_forget(lm, sae, choose, seen, before, name, np.random.default_rng([cfg.seed, number])))
        progress.advance(1)
    return Result(cfg.seed, tuple(found))


@dataclass(frozen=True, eq=False)
class Texts:
    """Some texts, padded to one length; `f`: features, CSR [counted tokens, d_sae], and `of` each one's text."""

    ids: Int[Tensor, "texts tokens"]
    counted: Bool[Tensor, "texts tokens"]
    classes: tuple[str, ...]
    f: Any
    of: Int[np.ndarray, "counted"]

    @classmethod
    def read(cls, lm: LanguageModel, sae: SAE, ids: Sequence[Tensor], classes: Sequence[str], half: int) -> "Texts":
        """Every other text, from number `half` on."""
        chosen = list(range(half, len(ids), 2))
        lengths = torch.tensor([len(ids[i]) for i in chosen])
        padded = torch.nn.utils.rnn.pad_sequence([ids[i] for i in chosen], batch_first=True)
        counted = (torch.arange(padded.shape[1]) < lengths.unsqueeze(1)).to(padded.device)
        counted[:, 0] &= lm.bos is None
        site, _ = sites(sae)
        codes = sae.encode_sparse(lm.activations(padded, [site])[site][counted].to(sae.W_enc))
        fires = codes.mask & (codes.val > 0)
        row = torch.arange(len(codes.idx), device=fires.device).unsqueeze(1).expand_as(fires)
        value, *place = (part[fires].cpu().numpy() for part in (codes.val.float(), row, codes.idx))
        f = sparse.csr_matrix((value, tuple(place)), shape=(len(codes.idx), codes.n))
        of = torch.nonzero(counted)[:, 0].cpu().numpy()
        return cls(padded, counted, tuple(classes[i] for i in chosen), f, of)

    def of_class(self, name: str) -> Bool[np.ndarray, "texts"]:
        return np.array([one == name for one in self.classes])

    def right(self, lm: LanguageModel, edits: dict[str, Edit]) -> Float[np.ndarray, "texts"]:
        """Each text's share of predictions whose best guess is the next token."""
        with lm.edited(edits):
            guess = lm.logits(self.ids).argmax(dim=-1)[:, :-1]
        use = self.counted[:, 1:]
        return (((guess == self.ids[:, 1:]) & use).sum(dim=1) / use.sum(dim=1)).cpu().numpy()


Setting = tuple[float, int, int]  # (density, features, clamp)


def _forget(
    lm: LanguageModel, sae: SAE, choose: Texts, seen: Texts, before: Float[np.ndarray, "texts"], name: str,
    random: np.random.Generator,
) -> Forgotten:  # fmt: skip
    """The best setting for one subject, and the same of random features."""
    forget, means = seen.of_class(name), _means(choose)
    known, others = (float(before[rows].mean()) for rows in (forget, ~forget))
    best: dict[bool, tuple[float, float, Setting | None]] = {False: (0.0, 1.0, None), True: (0.0, 1.0, None)}
    for chance, setting, features in _settings(choose, name, random):
        after = seen.right(lm, clamped(sae, features, setting[2] * means[features], seen.counted))
        kept, drop = float(after[~forget].mean() / others), float(1 - after[forget].mean() / max(1e-9, known))
        if kept >= KEEP and drop > best[chance][0]:
            best[chance] = (drop, kept, setting)
    predictions = int(seen.counted[:, 1:].sum(dim=1).cpu().numpy()[forget].sum())
    drop, kept, chosen = best[False]
    return Forgotten(name, known, drop, kept, best[True][0], chosen, predictions)


def _means(texts: Texts) -> Float[np.ndarray, "d_sae"]:
    """Mean activation of each feature where it fires."""
    total, fires = (np.asarray(each.sum(axis=0)).ravel() for each in (texts.f, texts.f > 0))
    return total / np.maximum(1, fires)


def _settings(
    texts: Texts, name: str, random: np.random.Generator
) -> Iterator[tuple[bool, Setting, Int[np.ndarray, "n"]]]:
    """(random?, (density, features, clamp), the features)."""
    forget = texts.of_class(name)[texts.of]
    of_forget, of_retain = (np.asarray((texts.f[rows] > 0).mean(axis=0)).ravel() for rows in (forget, ~forget))
    for density in DENSITIES:
        rare = np.flatnonzero((of_retain <= density) & (of_forget + of_retain > 0))
        ranked = rare[np.argsort(-of_forget[rare], kind="stable")]
        ranked = ranked[of_forget[ranked] > 0]
        drawn = random.permutation(rare)
        for count, clamp in product(COUNTS, CLAMPS):
            for chance, order in ((False, ranked), (True, drawn)):
                if len(order):
                    yield chance, (density, count, clamp), order[:count]


def clamped(
    sae: SAE, features: Int[np.ndarray, "n"], to: Float[np.ndarray, "n"], counted: Bool[Tensor, "texts tokens"]
) -> dict[str, Edit]:
    """The edit that sets these features to -`to` on the counted tokens on which they fire."""
    site, _ = sites(sae)
    chosen = torch.from_numpy(features).to(sae.W_dec.device)
    value = torch.from_numpy(to).to(sae.W_dec)
    W = sae.W_dec[chosen]

    def edit(x: Tensor, start: int) -> Tensor:
        f = activations(sae, x, chosen)  # [texts, tokens, n]
        shift = torch.where((f > 0) & counted.unsqueeze(-1), -value - f, 0.0)
        return x + (shift @ W).to(x)

    return {site: edit}
