"""Rows of one batch growing side by side, token by token, until they end or somebody stops them."""

import math
import time
from contextlib import closing
from dataclasses import dataclass, field

import streamlit as st

from saelab.app.widgets import state, steer_link, tokens
from saelab.intervene import Steering, SteerRecipe, SteerStep, steer_steps

NAMES = {"default": "Default", "steered": "Steered", "random": "Random direction", "other": "Another feature"}
HOW = {
    "default": "The model as it is.",
    "steered": "",
    "random": "Pushed as far at every position, in one random direction.",
    "other": "Pushed as far at every position, along the direction of {others}.",
}
HOVER = (
    "Point at a token for its probability (in its own row, at temperature 1) and for the activation of the steered "
    "features on it, before they are changed; it is as dark as the first of them is active. The last token has been "
    "written but not read, so it has no activation. All rows draw with the same random numbers."
)
PAINT_EVERY = 0.06  # seconds: smooth to the eye, and the model is not kept waiting


@dataclass
class Written:
    """One row so far: pieces of text, how likely each was, and the steered features on it."""

    pieces: list[str] = field(default_factory=list)
    likely: list[float] = field(default_factory=list)
    acts: list[tuple[float, ...]] = field(default_factory=list)  # one fewer than pieces: the last is not read yet

    def notes(self, names: list[str]) -> list[str]:
        """What a token says when pointed at."""
        known = [*self.acts, *[()] * (len(self.pieces) - len(self.acts))]
        return [
            " · ".join(
                [f"p = {p:.3g}", *(f"feature {name}: {act:.3g}" for name, act in zip(names, acts, strict=False))]
            )
            for p, acts in zip(self.likely, known, strict=True)
        ]

    def shades(self) -> list[float | None]:
        """The first steered feature, token by token."""
        return [*(acts[0] for acts in self.acts), *[None] * (len(self.pieces) - len(self.acts))]


@dataclass
class Transcript:
    """What has been written so far by each row."""

    recipe: SteerRecipe
    names: list[str]  # of the steered features
    maximum: float  # of the first of them
    others: str  # the features of the last row
    rows: list[Written]
    seconds: float = 0.0
    ended: bool = False

    def add(self, step: SteerStep) -> None:
        """One more token of each row that still writes; what was found on the one before it."""
        for row, written in enumerate(self.rows):
            if 0 < len(written.pieces) == step.number:
                written.acts.append(step.before[row])
            logprob = step.logprobs[row]
            if logprob is not None:
                written.pieces.append(step.texts[row].removeprefix("".join(written.pieces)))
                written.likely.append(math.exp(logprob))

    def summary(self) -> str:
        """How far it came, and where default and steered part."""
        default, steered = self.rows[0].pieces, self.rows[1].pieces
        count = max(len(row.pieces) for row in self.rows)
        apart = next((i for i, pair in enumerate(zip(default, steered, strict=False)) if pair[0] != pair[1]), None)
        pace = f", {1000 * self.seconds / count:.0f} ms each" if count else ""
        parts = [f"{count} tokens in {self.seconds:.1f} s{pace}" + ("" if self.ended else ", stopped")]
        parts.append("default and steered are the same" if apart is None else f"they part at token {apart + 1}")
        return " · ".join([*parts, f"seed {self.recipe.request.seed}"])


def run(recipe: SteerRecipe) -> None:
    """Generate, painting as it goes. What has been written stays when it is stopped."""
    with state.stoppable() as top, state.models() as (lm, _):
        steerings = [_steering(name, recipe) for name, _ in recipe.saes]
        steps = steer_steps(lm, steerings, recipe.request)
        transcript = _begun(recipe, steerings)
        slots = _slots(transcript)
        st.session_state[_last()] = transcript
        started, painted = time.monotonic(), 0.0
        with closing(steps):
            for step in steps:
                state.stop_if_asked()
                transcript.add(step)
                transcript.seconds = time.monotonic() - started
                if time.monotonic() - painted > PAINT_EVERY:
                    _paint(transcript, slots)
                    painted = time.monotonic()
    transcript.ended = True
    _paint(transcript, slots)
    top.caption(transcript.summary())
    st.caption(HOVER)


def _steering(name: str, recipe: SteerRecipe) -> Steering:
    choice, steers = state.named(name), dict(recipe.saes)[name]
    maxima = state.index_of(choice).maximum([one.feature for one in steers])
    return Steering(state.sae_of(choice), steers, maxima)


def _begun(recipe: SteerRecipe, steerings: list[Steering]) -> Transcript:
    from saelab.intervene.generate import others

    here = state.choice().sae
    names = [steer_link.shown((name, one.feature), here) for name, steers in recipe.saes for one in steers]
    along = [
        steer_link.shown((name, other), here)
        for (name, _), other in zip(recipe.saes, others(steerings), strict=True)
    ] if "other" in recipe.request.rows else []  # fmt: skip
    rows = [Written() for _ in recipe.request.rows]
    return Transcript(recipe, names, float(steerings[0].maxima[0]), ", ".join(along), rows)


def show_last() -> bool:
    """What was generated last in this session, if anything was."""
    transcript = st.session_state.get(_last())
    if transcript is None:
        return False
    st.caption(transcript.summary())
    _paint(transcript, _slots(transcript))
    st.caption(HOVER)
    return True


def last_recipe() -> SteerRecipe | None:
    """The recipe of what was generated last in this session."""
    transcript = st.session_state.get(_last())
    return transcript.recipe if transcript else None


def _last() -> str:
    """Under which name the session keeps the last generation with this SAE."""
    return f"last generation with {state.choice().checkpoint}"


def _slots(transcript: Transcript) -> list[st.delta_generator.DeltaGenerator]:
    """A box for each row, two beside each other."""
    slots, names = [], transcript.recipe.request.rows
    for first in range(0, len(names), 2):
        for column, name in zip(st.columns(2, gap="medium"), names[first : first + 2], strict=True):
            box = column.container(border=True, height="stretch")
            box.markdown(f"**{NAMES[name]}**", help=HOW[name].format(others=transcript.others) or None)
            slots.append(box.empty())
    return slots


def _paint(transcript: Transcript, slots: list[st.delta_generator.DeltaGenerator]) -> None:
    prompt = f'<span class="prompt">{tokens.lines(transcript.recipe.request.prompt)}</span>'
    for slot, row in zip(slots, transcript.rows, strict=True):
        written = tokens.spans(row.pieces, row.shades(), transcript.maximum, notes=row.notes(transcript.names),
                               lines=True)  # fmt: skip
        slot.html(tokens.text_block(prompt + written))
