"""RAVEL: can features change one attribute of an entity and leave its others alone?

Entities are cities, attributes their country, continent and language. From the entity's last token in one prompt the
chosen features are put in place of those of another entity,

    x' = x + sum over the features of attribute A of (f_other - f) W_dec

    cause(A)      share of the pairs whose answer to A's prompt then is the other entity's
    isolate(B)    share whose answer to B's prompt stays as it was
    disentangle   mean over ordered pairs of attributes (A, B) of (cause(A) + isolate(B)) / 2

Features of A are the n of the largest share of variance between A's values less that between B's, over the entities'
rows. Only entities whose attributes the model gives right count: first token of the answer, best guess. SAEBench learns
the mask of features by gradient; here it is counted.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

import saelab
from saelab.config import Settings
from saelab.contracts import Progress, Silent
from saelab.errors import EvalError, EvalSkipped
from saelab.evals.sample import require_autoencoder
from saelab.evals.subject import Figure, Subject
from saelab.intervene import sites
from saelab.lm import Edit, LanguageModel

NEEDS = ("model",)
SOURCE = "Huang et al. 2024, RAVEL; Karvonen et al. 2025, SAEBench (ravel)"
METRICS = {
    "disentangle": "mean of cause and isolate over ordered pairs of attributes, the number of features that is best",
    "cause": "share of the pairs of entities whose answer changes to the other's",
    "isolate": "share whose answer about another attribute stays",
    "disentangle_random": "the same with as many features drawn at random",
}
PROMPTS = {
    "country": "Paris is in the country of France. Tokyo is in the country of Japan. {entity} is in the country of",
    "continent": "Paris is a city on the continent of Europe. Tokyo is in Asia. {entity} is a city on the continent of",
    "language": "In Paris people speak French. In Tokyo people speak Japanese. In {entity} people speak",
}
COUNTS = (5, 20, 50)
FOLDER = "ravel"


class Config(Settings):
    least: int = Field(8, gt=1, description="Entities that the model must know.")
    pairs: int = Field(40, gt=0, description="Pairs of entities for each pair of attributes.")
    seed: int = Field(0, description="Of the pairs and the random features.")


@dataclass(frozen=True)
class Direction:
    """Changing one attribute while another is watched, by the number of features that change."""

    changed: str
    watched: str
    cause: dict[int, float]
    isolate: dict[int, float]
    random: dict[int, float]  # disentangle
    pairs: int

    def disentangle(self, n: int) -> float:
        return (self.cause[n] + self.isolate[n]) / 2


@dataclass(frozen=True)
class Result:
    """Every ordered pair of attributes."""

    seed: int
    entities: int
    asked: int
    directions: tuple[Direction, ...]

    @property
    def best(self) -> int:
        """The number of features that disentangles best."""
        return max(COUNTS, key=lambda n: mean(one.disentangle(n) for one in self.directions))

    def figures(self) -> list[Figure]:
        """One row per metric; n counts entities."""
        n = self.best
        values = {
            "disentangle": mean(one.disentangle(n) for one in self.directions),
            "cause": mean(one.cause[n] for one in self.directions),
            "isolate": mean(one.isolate[n] for one in self.directions),
            "disentangle_random": mean(one.random[n] for one in self.directions),
        }
        return [Figure(name, values[name], self.entities, self.seed) for name in METRICS]

    def table(self) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Column names and one row per ordered pair of attributes."""
        n = self.best
        columns = ("changed", "watched", "features", "cause", "isolate", "disentangle", "random", "pairs")
        return columns, [
            (o.changed, o.watched, n, o.cause[n], o.isolate[n], o.disentangle(n), o.random[n], o.pairs)
            for o in self.directions
        ]

    def summary(self) -> list[str]:
        """The lines to read when there is time for no more."""
        v = {figure.metric: figure.value for figure in self.figures()}
        parts = f"cause {v['cause']:.3f}, isolate {v['isolate']:.3f}"
        return [
            f"disentangle {v['disentangle']:.3f} with {self.best} features ({parts}), {v['disentangle_random']:.3f} "
            f"with random ones; the model knows {self.entities} of {self.asked} cities"
        ]

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return asdict(self)


def facts() -> list[dict[str, str]]:
    """{"entity", attribute: value} of every city. Raises EvalError when the file is missing."""
    for place in saelab.__path__:
        file = Path(place) / "data" / FOLDER / "cities.jsonl"
        if file.is_file():
            return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    raise EvalError("the cities of data/ravel are missing.\n  fix:   install saelab again")


@torch.inference_mode()
def run(subject: Subject, cfg: Config, progress: Progress | None = None) -> Result:
    """Exchange attributes of the cities that the subject's language model knows."""
    progress = progress or Silent()
    require_autoencoder(subject, "ravel")
    every = facts()
    progress.start("what the model knows", len(every), "entities")
    known = []
    for fact in every:
        if knows(subject.lm, fact):
            known.append(fact)
        progress.advance(1)
    if len(known) < cfg.least:
        raise EvalSkipped(f"the model knows country, continent and language of {len(known)} of {len(every)} cities, "
                          f"{cfg.least} are needed")  # fmt: skip
    ways = list(permutations(PROMPTS, 2))
    progress.start("exchanged attributes", len(ways), "pairs of attributes")
    found = []
    for number, (changed, watched) in enumerate(ways):
        found.append(_direction(subject, known, changed, watched, cfg, np.random.default_rng([cfg.seed, number])))
        progress.advance(1)
    return Result(cfg.seed, len(known), len(every), tuple(found))


def knows(lm: LanguageModel, fact: dict[str, str]) -> bool:
    """Whether the best guess after each prompt is the first token of the answer."""
    asked = {name: prompt(lm, name, fact["entity"])[0] for name in PROMPTS}
    return all(len(ids) <= lm.context and _guess(lm, ids, {}) == answer(lm, fact[name]) for name, ids in asked.items())


def prompt(lm: LanguageModel, attribute: str, entity: str) -> tuple[Int[Tensor, "tokens"], int]:
    """(token ids, the place of the entity's last token)."""
    head = PROMPTS[attribute].split("{entity}")[0].rstrip() + f" {entity}"
    whole = PROMPTS[attribute].format(entity=entity)
    return lm.prompt(whole), len(lm.prompt(head)) - 1


def answer(lm: LanguageModel, value: str) -> int:
    """The first token of the answer."""
    return lm.encode(f" {value}")[0]


def _guess(lm: LanguageModel, ids: Int[Tensor, "tokens"], edits: dict[str, Edit]) -> int:
    with lm.edited(edits):
        return int(lm.logits(ids.unsqueeze(0))[0, -1].argmax())


def _direction(
    subject: Subject, known: Sequence[dict[str, str]], changed: str, watched: str, cfg: Config,
    random: np.random.Generator,
) -> Direction:  # fmt: skip
    f = {name: _features(subject, known, name) for name in (changed, watched)}
    both = torch.cat([f[changed], f[watched]]).numpy()
    values = {name: np.array([fact[name] for fact in known] * 2) for name in (changed, watched)}
    order = np.argsort(-(between(both, values[changed]) - between(both, values[watched])), kind="stable")
    fires = random.permutation(np.flatnonzero((both > 0).any(axis=0)))
    pairs = [(i, j) for i, j in permutations(range(len(known)), 2) if known[i][changed] != known[j][changed]]
    pairs = [pairs[i] for i in random.permutation(len(pairs))[: cfg.pairs]]
    if not pairs:
        raise EvalSkipped(f"all cities that the model knows have the same {changed}")
    shares = {
        kind: {
            n: _exchange(subject, known, f, pairs, torch.from_numpy(chosen[:n].copy()), changed, watched)
            for n in COUNTS
        }
        for kind, chosen in (("own", order), ("random", fires))
    }
    cause, isolate = ({n: share[part] for n, share in shares["own"].items()} for part in (0, 1))
    return Direction(changed, watched, cause, isolate, {n: sum(s) / 2 for n, s in shares["random"].items()}, len(pairs))


def _features(subject: Subject, known: Sequence[dict[str, str]], attribute: str) -> Float[Tensor, "entities d_sae"]:
    """Features at each entity's last token."""
    sae, lm = subject.sae, subject.lm
    site, _ = sites(sae)
    rows = []
    for fact in known:
        ids, place = prompt(lm, attribute, fact["entity"])
        rows.append(lm.activations(ids.unsqueeze(0), [site])[site][0, place])
    return sae.encode_sparse(torch.stack(rows).to(sae.W_enc)).dense().clamp_min(0).float().cpu()


def between(f: Float[np.ndarray, "rows d_sae"], value: np.ndarray) -> Float[np.ndarray, "d_sae"]:
    """Share of each feature's variance that lies between the groups of equal value; 0 where it never varies."""
    total = f.var(axis=0)
    within = sum(f[value == one].var(axis=0) * (value == one).mean() for one in np.unique(value))
    return np.where(total > 0, 1 - within / np.where(total > 0, total, 1), 0)


def _exchange(
    subject: Subject, known: Sequence[dict[str, str]], f: dict[str, Float[Tensor, "entities d_sae"]],
    pairs: Sequence[tuple[int, int]], features: Int[Tensor, "n"], changed: str, watched: str,
) -> tuple[float, float]:  # fmt: skip
    """(share whose answer to `changed` becomes the other's, share whose answer to `watched` stays)."""
    lm, W = subject.lm, subject.sae.W_dec[features.to(subject.sae.W_dec.device)]
    caused = stayed = 0
    for base, other in pairs:
        for name in (changed, watched):
            ids, place = prompt(lm, name, known[base]["entity"])
            step = (f[name][other, features] - f[name][base, features]).to(W) @ W
            guess = _guess(lm, ids, at_place(sites(subject.sae)[1], place, step))
            caused += name == changed and guess == answer(lm, known[other][changed])
            stayed += name == watched and guess == answer(lm, known[base][watched])
    return caused / len(pairs), stayed / len(pairs)


def at_place(site: str, place: int, step: Float[Tensor, "d"]) -> dict[str, Edit]:
    """The edit that adds `step` at one position."""

    def edit(x: Tensor, start: int) -> Tensor:
        added = torch.zeros_like(x)
        added[:, place] = step.to(x)
        return x + added

    return {site: edit}
