"""The progress of work that runs inside a page; a page that was stopped or left ends at the next step."""

from dataclasses import dataclass
from typing import Any

import streamlit as st

from saelab.app.widgets import state, tokens


@dataclass
class Bar:
    """Draws into `place`, an element of its own, and says what it is `doing`."""

    place: Any
    doing: str
    total: int = 1
    done: int = 0

    def start(self, what: str, total: int, unit: str) -> None:
        self.total, self.done = total, 0
        self._draw()

    def advance(self, done: int, **figures: float) -> None:
        state.stop_if_asked()
        self.done += done
        self._draw()

    def note(self, text: str) -> None:
        st.caption(tokens.markdown(text))

    def _draw(self) -> None:
        self.place.progress(min(1.0, self.done / max(1, self.total)), f"{self.doing}: {self.done} of {self.total}")
