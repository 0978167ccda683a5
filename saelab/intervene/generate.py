"""Generate with and without steering, side by side.

All rows decode in one batch from the same prompt and with the same random numbers, so they differ by the steering
alone. The controls move as far as their own row would be steered, at the same positions, in another direction.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.errors import InterventionError
from saelab.intervene.controls import another_feature, as_far, as_far_along, random_direction
from saelab.intervene.delta import ByRow
from saelab.intervene.request import Steering, SteerRequest
from saelab.intervene.steer import Steer, steering_edits
from saelab.intervene.text import counted, prompt_ids
from saelab.lm import Edit, LanguageModel, Step


@dataclass(frozen=True)
class SteerStep:
    """One new token of every row that still writes; None for a row that has ended.

    `before` are the activations of the steered features on the token that the row wrote one step earlier (of the
    prompt's last token at step 0), before they are changed: they are known once the model has read that token.
    """

    number: int
    tokens: tuple[int | None, ...]
    strings: tuple[str | None, ...]
    logprobs: tuple[float | None, ...]
    texts: tuple[str, ...]  # all that each row has written so far, ready to show
    before: tuple[tuple[float, ...], ...]  # [row][steered feature]


@dataclass(frozen=True)
class SteeredRow:
    """What one row wrote, the log-probability, in nats, it gave each token, and the steered features on it.

    The last token has been written, but not read: its activations are None.
    """

    name: str
    text: str
    tokens: tuple[int, ...]
    strings: tuple[str, ...]
    logprobs: tuple[float, ...]
    activations: tuple[tuple[float, ...] | None, ...]


@dataclass(frozen=True)
class SteerResult:
    """What was asked, what was steered, and what each row wrote."""

    request: SteerRequest
    steers: tuple[Steer, ...]
    rows: tuple[SteeredRow, ...]

    def row(self, name: str) -> SteeredRow:
        """The row called `name`."""
        return self.rows[self.request.rows.index(name)]


def steer(lm: LanguageModel, steerings: Sequence[Steering], request: SteerRequest) -> SteerResult:
    """Generate to the end; `steer_steps` gives the same token by token."""
    done = list(steer_steps(lm, steerings, request))
    rows = tuple(_row(name, i, done) for i, name in enumerate(request.rows))
    return SteerResult(request, tuple(one for part in steerings for one in part.steers), rows)


def _row(name: str, i: int, steps: Sequence[SteerStep]) -> SteeredRow:
    written = [step for step in steps if step.tokens[i] is not None]
    read: list[tuple[float, ...] | None] = [step.before[i] for step in steps[1 : len(written) + 1]]
    return SteeredRow(
        name=name,
        text=steps[-1].texts[i] if steps else "",
        tokens=tuple(step.tokens[i] or 0 for step in written),
        strings=tuple(step.strings[i] or "" for step in written),
        logprobs=tuple(step.logprobs[i] or 0.0 for step in written),
        activations=tuple([*read, None][: len(written)]),
    )


def steer_steps(
    lm: LanguageModel, steerings: Sequence[Steering], request: SteerRequest
) -> Generator[SteerStep, None, None]:
    """Generate token by token. The SAEs may be of several sites; at one site they act one after the other.

    The model is edited, and its lock held, only while a step is computed: between two steps it is as it was, and
    another thread may use it. What is asked is checked at once, before the first step.
    """
    if not steerings:
        raise InterventionError("nothing was named to steer by: name at least one feature")
    ids = prompt_ids(lm, request.prompt, request.chat, request.steps)
    seen: list[Tensor] = [torch.zeros(0)] * len(steerings)
    edits = [
        steering_edits(
            part.sae, part.steers, part.maxima, counted(lm, ids),
            by_row=_by_row(part, request), watch=partial(_keep, seen, place),
        )
        for place, part in enumerate(steerings)
    ]  # fmt: skip
    rows = ids.expand(len(request.rows), -1)
    generating = lm.generate(rows, request.steps, temperature=request.temperature, seed=request.seed, stop=lm.special)
    return _steps(lm, under(lm, edits, generating), len(rows), lambda: _joined(seen))


def _keep(seen: list[Tensor], place: int, f: Float[Tensor, "batch tokens n"]) -> None:
    seen[place] = f[:, -1]


def _joined(seen: list[Tensor]) -> list[tuple[float, ...]]:
    return [tuple(row) for row in torch.cat([one.cpu() for one in seen], dim=1).tolist()]


def others(steerings: Sequence[Steering]) -> list[int]:
    """The feature along which the row "other" moves, for each SAE."""
    return [another_feature(part.sae, part.steers[0].feature) for part in steerings]


def _by_row(part: Steering, request: SteerRequest) -> ByRow:
    """What each row of the batch gets of the change it would be steered by."""
    W, first = part.sae.W_dec.detach(), part.steers[0].feature
    give: dict[str, Callable[[Tensor], Tensor]] = {"default": torch.zeros_like, "steered": lambda delta: delta}
    if "random" in request.rows:
        aside = random_direction(part.sae, request.seed)
        give["random"] = lambda delta: as_far(delta, aside)
    if "other" in request.rows:
        other = another_feature(part.sae, first)
        give["other"] = lambda delta: as_far_along(delta, W[first], W[other])
    return lambda delta: torch.stack([give[name](row) for name, row in zip(request.rows, delta, strict=True)])


def under(lm: LanguageModel, edits: Sequence[Mapping[str, Edit]], generating: Iterator[Step]) -> Iterator[Step]:
    """`generating`, each of its steps computed under `edits`, which are gone whenever the caller has the word."""
    while True:
        with lm.lock, ExitStack() as stack:
            for one in edits:
                stack.enter_context(lm.edited(one))
            step = next(generating, None)
        if step is None:
            return
        yield step


def _steps(
    lm: LanguageModel, generating: Iterator[Step], rows: int, before: Callable[[], list[tuple[float, ...]]]
) -> Generator[SteerStep, None, None]:
    """Bare steps as people read them. A row has ended at its first special token, which is not shown."""
    written: list[list[int]] = [[] for _ in range(rows)]
    writes = [True] * rows
    for number, step in enumerate(generating):
        tokens, logprobs = step.tokens.tolist(), step.logprobs.tolist()
        writes = [still and token not in lm.special for still, token in zip(writes, tokens, strict=True)]
        if not any(writes):
            return
        for row in range(rows):
            written[row] += [tokens[row]] * writes[row]
        yield SteerStep(
            number,
            tuple(token if still else None for token, still in zip(tokens, writes, strict=True)),
            tuple(lm.token_strings([token])[0] if still else None for token, still in zip(tokens, writes, strict=True)),
            tuple(logprob if still else None for logprob, still in zip(logprobs, writes, strict=True)),
            tuple(readable(lm.decode(ids)) for ids in written),
            tuple(before()),
        )


def readable(text: str) -> str:
    """`text` without the half of a character that may stand at its end until the next token comes."""
    return text.rstrip("\N{REPLACEMENT CHARACTER}")
