"""Generate with and without steering, side by side.

All rows decode in one batch from the same prompt and with the same random numbers, so they differ by the steering
alone. The control row moves as far as the steered one, at the same positions, but in a random direction: what it
does too is no work of the feature.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.intervene.delta import ByRow
from saelab.intervene.steer import Steer, steering_edits
from saelab.lm import Edit, LanguageModel, Step
from saelab.sae import SAE

ROWS = ("default", "steered", "control")


@dataclass(frozen=True)
class SteerStep:
    """One new token of every row that still writes; None for a row that has ended."""

    number: int
    tokens: tuple[int | None, ...]
    strings: tuple[str | None, ...]
    logprobs: tuple[float | None, ...]
    texts: tuple[str, ...]  # all that each row has written so far, ready to show


@dataclass(frozen=True)
class SteeredRow:
    """What one row wrote, and the log-probability, in nats, it gave each token."""

    name: str
    text: str
    tokens: tuple[int, ...]
    strings: tuple[str, ...]
    logprobs: tuple[float, ...]


@dataclass(frozen=True)
class SteerResult:
    """The prompt, what was steered, and what each row wrote after it."""

    prompt: str
    steers: tuple[Steer, ...]
    seed: int
    temperature: float
    rows: tuple[SteeredRow, ...]

    @property
    def default(self) -> str:
        """The text without steering."""
        return self.rows[0].text

    @property
    def steered(self) -> str:
        """The text with steering."""
        return self.rows[1].text


def steer(
    lm: LanguageModel,
    sae: SAE,
    steers: Sequence[Steer],
    maxima: Float[Tensor, "steers"],
    prompt: str,
    *,
    steps: int = 60,
    temperature: float = 0.7,
    seed: int = 0,
    chat: bool = False,
    controls: bool = False,
) -> SteerResult:
    """Generate to the end; `steer_steps` gives the same token by token."""
    done = list(
        steer_steps(
            lm, sae, steers, maxima, prompt,
            steps=steps, temperature=temperature, seed=seed, chat=chat, controls=controls,
        )
    )  # fmt: skip
    rows = tuple(_row(i, done) for i in range(3 if controls else 2))
    return SteerResult(prompt, tuple(steers), seed, temperature, rows)


def _row(i: int, steps: Sequence[SteerStep]) -> SteeredRow:
    written = [step for step in steps if step.tokens[i] is not None]
    return SteeredRow(
        name=ROWS[i],
        text=steps[-1].texts[i] if steps else "",
        tokens=tuple(step.tokens[i] or 0 for step in written),
        strings=tuple(step.strings[i] or "" for step in written),
        logprobs=tuple(step.logprobs[i] or 0.0 for step in written),
    )


def steer_steps(
    lm: LanguageModel,
    sae: SAE,
    steers: Sequence[Steer],
    maxima: Float[Tensor, "steers"],
    prompt: str,
    *,
    steps: int = 60,
    temperature: float = 0.7,
    seed: int = 0,
    chat: bool = False,
    controls: bool = False,
) -> Generator[SteerStep, None, None]:
    """Generate token by token: row 0 as the model is, row 1 steered, row 2 (with `controls`) the control.

    The model is edited only while a step is computed: between two steps it is as it was. Where another thread may
    use it too, hold `lm.lock` while asking for a step.
    """
    ids = lm.prompt(prompt, chat)
    counted = ~torch.isin(ids, torch.tensor(sorted(lm.special), dtype=ids.dtype, device=ids.device))
    edits = steering_edits(sae, steers, maxima, counted, by_row=_by_row(sae, seed))
    rows = ids.expand(3 if controls else 2, -1)
    generating = lm.generate(rows, steps, temperature=temperature, seed=seed, stop=lm.special)
    return _steps(lm, _under(lm, edits, generating), len(rows))


def _by_row(sae: SAE, seed: int) -> ByRow:
    """Row 0 gets nothing, row 1 the steering, row 2 a random direction of the norm its own steering would have."""
    random = torch.randn(sae.W_dec.shape[1], generator=torch.Generator().manual_seed(seed)).to(sae.W_dec)
    unit = random / random.norm()

    def by_row(delta: Tensor) -> Tensor:
        control = delta[2:].norm(dim=-1, keepdim=True) * unit
        return torch.cat([torch.zeros_like(delta[:1]), delta[1:2], control])

    return by_row


def _under(lm: LanguageModel, edits: Mapping[str, Edit], generating: Iterator[Step]) -> Iterator[Step]:
    """`generating`, each of its steps computed under `edits`, which are gone whenever the caller has the word."""
    while True:
        with lm.edited(edits):
            step = next(generating, None)
        if step is None:
            return
        yield step


def _steps(lm: LanguageModel, generating: Iterator[Step], rows: int) -> Generator[SteerStep, None, None]:
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
        )


def readable(text: str) -> str:
    """`text` without the half of a character that may stand at its end until the next token comes."""
    return text.rstrip("\N{REPLACEMENT CHARACTER}")
