"""Dose curve: what steering does as its strength grows, beside two controls that move the site just as far.

    feature   the steering
    random    at every position as far as the steering would, in one random direction
    other     as far, along W_dec of a feature drawn at random; against it where the strength is negative

For every strength and seed each of them writes a continuation of the prompt. Of each:

    target       probability, after the prompt, that the next token is one of the targets (the feature's promoted ones)
    kl           KL(unsteered || steered) of that next token, nats
    perplexity   exp of the mean loss, in the unsteered model, of what was written; means over seeds
    repetition   share of the written 3-grams that the same text had written before; means over seeds

A feature is worth steering with where target rises and the controls' does not, before perplexity and repetition do.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saelab.contracts import Progress, Silent
from saelab.errors import InterventionError
from saelab.intervene.controls import another_feature, as_far, as_far_along, random_direction
from saelab.intervene.delta import ByRow, feature_edits
from saelab.intervene.generate import readable, under
from saelab.intervene.modes import MODES
from saelab.intervene.steer import Steer, refuse_silent, where_steered
from saelab.intervene.text import counted, prompt_ids
from saelab.lm import Edit, LanguageModel
from saelab.metrics import kl_divergence
from saelab.sae import SAE

WAYS = ("feature", "random", "other")
STRENGTHS = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
GRAM = 3  # tokens


@dataclass(frozen=True)
class Dose:
    """One way at one strength; see the module."""

    way: str
    strength: float
    target: float
    kl: float
    perplexity: float | None  # None where nothing was written
    repetition: float
    texts: tuple[str, ...]  # one for each seed


@dataclass(frozen=True)
class DoseCurve:
    """All of them: way by way, by rising strength."""

    prompt: str
    steer: Steer  # at strength 1
    other: int  # the feature of the second control
    targets: tuple[str, ...]
    seeds: int
    doses: tuple[Dose, ...]

    def table(self) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        """Column names and rows."""
        columns = ("way", "strength", "target", "KL", "perplexity", "repetition")
        return columns, [
            (one.way, one.strength, one.target, one.kl, one.perplexity, one.repetition) for one in self.doses
        ]

    def of(self, way: str) -> list[Dose]:
        """One way's doses."""
        return [one for one in self.doses if one.way == way]


def dose_curve(
    lm: LanguageModel,
    sae: SAE,
    steer: Steer,
    maximum: float,
    prompt: str,
    targets: Sequence[int],
    *,
    strengths: Sequence[float] = STRENGTHS,
    steps: int = 30,
    seeds: int = 4,
    temperature: float = 0.7,
    chat: bool = False,
    progress: Progress | None = None,
) -> DoseCurve:
    """Steer at every strength (that of `steer` itself is not used), all of them and their controls in one batch.

    `targets` are token ids. Raises InterventionError for no strengths or targets, and what steering raises.
    """
    if not strengths or not targets:
        raise InterventionError("a dose curve needs at least one strength and one target token")
    progress = progress or Silent()
    steers = [replace(steer, strength=strength) for strength in sorted(strengths)]
    refuse_silent(steers, torch.full((len(steers),), maximum))
    ids = prompt_ids(lm, prompt, chat, steps)
    other = another_feature(sae, steer.feature)
    edits = _edits(sae, steers, maximum, other, counted(lm, ids))
    rows = ids.expand(1 + len(WAYS) * len(steers), -1)
    target, kl = _next_token(lm, edits, rows, targets)
    progress.start("dose curve", seeds * steps, "tokens")
    written: list[list[list[int]]] = []  # [seed][row] -> token ids
    for seed in range(seeds):
        generating = lm.generate(rows, steps, temperature=temperature, seed=seed, stop=lm.special)
        columns = []
        for step in under(lm, [edits], generating):
            columns.append(step.tokens)
            progress.advance(1)
        progress.advance(steps - len(columns))
        written.append(_written(lm, columns, len(rows)))
    doses = tuple(
        _dose(lm, ids, way, one.strength, float(target[row]), float(kl[row]), [texts[row] for texts in written])
        for row, (way, one) in enumerate(((way, one) for way in WAYS for one in steers), start=1)
    )
    strings = tuple(lm.token_strings(list(targets)))
    return DoseCurve(prompt, replace(steer, strength=1.0), other, strings, seeds, doses)


def _edits(
    sae: SAE, steers: Sequence[Steer], maximum: float, other: int, counted: Bool[Tensor, "prompt"]
) -> dict[str, Edit]:
    """Row 0 as the model is, then every strength of each way."""
    mode = MODES[steers[0].mode]
    rows = torch.tensor([0.0, *[one.strength for one in steers] * len(WAYS)], device=sae.W_dec.device).view(-1, 1, 1)
    top = torch.tensor(maximum, device=rows.device)
    return feature_edits(
        sae, [steers[0].feature], lambda v: mode.new(v, rows, top) - v, where_steered([steers[0]], counted),
        _ways(sae, len(steers), steers[0], other), projected=torch.tensor([mode.projected], device=rows.device),
    )  # fmt: skip


def _ways(sae: SAE, n: int, steer: Steer, other: int) -> ByRow:
    """Row 0 stays; the controls move as far as their rows would be steered."""
    W, aside = sae.W_dec.detach(), random_direction(sae, steer.feature)

    def by_row(delta: Tensor) -> Tensor:
        clean, steered, random, others = delta.split([1, n, n, n])
        controls = [as_far(random, aside), as_far_along(others, W[steer.feature], W[other])]
        return torch.cat([torch.zeros_like(clean), steered, *controls])

    return by_row


@torch.inference_mode()
def _next_token(
    lm: LanguageModel, edits: dict[str, Edit], rows: Int[Tensor, "rows tokens"], targets: Sequence[int]
) -> tuple[Float[Tensor, "rows"], Float[Tensor, "rows"]]:
    """Probability of the targets after the prompt, and KL from row 0."""
    with lm.edited(edits):
        logits = lm.logits(rows)[:, -1].float()
    return logits.softmax(dim=-1)[:, list(targets)].sum(dim=-1), kl_divergence(logits[:1].expand_as(logits), logits)


def _written(lm: LanguageModel, columns: Sequence[Int[Tensor, "rows"]], rows: int) -> list[list[int]]:
    """Token ids that each row writes before its first special one."""
    found = []
    for tokens in torch.stack(list(columns), dim=1).tolist() if columns else [[] for _ in range(rows)]:
        end = next((i for i, token in enumerate(tokens) if token in lm.special), len(tokens))
        found.append(tokens[:end])
    return found


def _dose(
    lm: LanguageModel, ids: Tensor, way: str, strength: float, target: float, kl: float, written: list[list[int]]
) -> Dose:
    losses = [one for tokens in written if (one := _loss(lm, ids, tokens)) is not None]
    perplexity = math.exp(mean(losses)) if losses else None
    texts = tuple(readable(lm.decode(tokens)) for tokens in written)
    return Dose(way, strength, target, kl, perplexity, mean(repetition(tokens) for tokens in written), texts)


def _loss(lm: LanguageModel, ids: Int[Tensor, "... prompt"], tokens: list[int]) -> float | None:
    """Mean loss, in nats, of the written tokens in the model as it is."""
    if not tokens:
        return None
    prompt = ids.flatten()
    whole = torch.cat([prompt, torch.tensor(tokens, dtype=prompt.dtype, device=prompt.device)])
    return float(lm.loss(whole.unsqueeze(0))[0, len(prompt) - 1 :].mean())


def repetition(tokens: Sequence[int]) -> float:
    """Share of the 3-grams that stood in the text before; 0 for a text without any."""
    grams = [tuple(tokens[i : i + GRAM]) for i in range(len(tokens) - GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
