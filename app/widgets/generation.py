"""Default and steered text growing side by side, token by token, until they end or somebody stops them."""

import math
import time
from contextlib import closing
from dataclasses import dataclass, field

import streamlit as st

from saelab.app.widgets import state, tokens
from saelab.app.widgets.recipe import Recipe
from saelab.features import Index
from saelab.intervene import SteerStep, steer_steps

NAMES = ("Default", "Steered")
PAINT_EVERY = 0.06  # seconds: smooth to the eye, and the model is not kept waiting


@dataclass
class Transcript:
    """What has been written so far by each row: pieces of text, and how likely each token was."""

    recipe: Recipe
    pieces: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))
    notes: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))
    seconds: float = 0.0
    ended: bool = False

    def add(self, step: SteerStep) -> None:
        """One more token of each row that still writes."""
        for row in range(2):
            logprob = step.logprobs[row]
            if logprob is not None:
                written = "".join(self.pieces[row])
                self.pieces[row].append(step.texts[row].removeprefix(written))
                self.notes[row].append(f"p = {math.exp(logprob):.3g}")

    def summary(self) -> str:
        """How far it came, and where the two part."""
        default, steered = self.pieces
        count = max(map(len, self.pieces))
        apart = next((i for i, pair in enumerate(zip(default, steered, strict=False)) if pair[0] != pair[1]), None)
        parts = [f"{count} tokens in {self.seconds:.1f} s" + ("" if self.ended else ", stopped")]
        parts.append("the two are the same" if apart is None else f"they part at token {apart + 1}")
        return " · ".join([*parts, f"seed {self.recipe.seed}", "point at a token for its probability"])


def run(recipe: Recipe, index: Index) -> None:
    """Generate, painting as it goes. What has been written stays when it is stopped."""
    transcript = Transcript(recipe)
    with state.models() as (lm, sae):
        maxima = index.maximum([one.feature for one in recipe.steers])
        steps = steer_steps(lm, sae, recipe.steers, maxima, recipe.prompt, steps=recipe.tokens,
                            temperature=recipe.temperature, seed=recipe.seed)  # fmt: skip
        top = st.empty()
        top.button("Stop", icon=":material/stop:")
        slots = _slots()
        st.session_state[_last()] = transcript
        started, painted = time.monotonic(), 0.0
        with closing(steps):  # type: ignore[type-var]
            for step in steps:
                transcript.add(step)
                transcript.seconds = time.monotonic() - started
                if time.monotonic() - painted > PAINT_EVERY:
                    _paint(transcript, slots)
                    painted = time.monotonic()
    transcript.ended = True
    _paint(transcript, slots)
    top.caption(transcript.summary())


def show_last() -> bool:
    """What was generated last in this session, if anything was."""
    transcript = st.session_state.get(_last())
    if transcript is None:
        return False
    st.caption(transcript.summary())
    _paint(transcript, _slots())
    return True


def _last() -> str:
    """Under which name the session keeps the last generation with this SAE."""
    return f"last generation with {state.choice().checkpoint}"


def _slots() -> list[st.delta_generator.DeltaGenerator]:
    slots = []
    for column, name in zip(st.columns(2, gap="medium"), NAMES, strict=True):
        box = column.container(border=True, height="stretch")
        box.markdown(f"**{name}**")
        slots.append(box.empty())
    return slots


def _paint(transcript: Transcript, slots: list[st.delta_generator.DeltaGenerator]) -> None:
    prompt = f'<span class="prompt">{tokens.lines(transcript.recipe.prompt)}</span>'
    for slot, pieces, notes in zip(slots, transcript.pieces, transcript.notes, strict=True):
        written = tokens.spans(pieces, [None] * len(pieces), 1.0, notes=notes, lines=True)
        slot.html(tokens.text_block(prompt + written))
