"""What pages share: which SAE is looked at, its index, and, only where a page computes, the models behind a lock.

Index and models are loaded once per process and shared by all sessions. One page computes at a time, in the order in
which they asked; a page that waits shows its place, and can be stopped while it does.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import streamlit as st

from saelab.app.catalogue import Choice, choices
from saelab.app.launch import FOLDER
from saelab.app.turns import Turns
from saelab.errors import SaelabError
from saelab.features import Index

PATIENCE = 600.0  # seconds a page waits for others that compute
LONGEST_TEXT = 4000  # characters of a text or prompt
MOST_TOKENS = 256  # generated at once
MOST_FEATURES = 8  # steered or ablated at once
MOST_RANKED = 200  # features listed for a text
SAMPLE = """def area(width, height):
    \"\"\"Return the area of a rectangle.\"\"\"
    return width * height  # in square metres
"""
CHOICE = "choice"

T = TypeVar("T")

turns = Turns()


def folder() -> Path:
    """The folder that the app was started for."""
    name = os.environ.get(FOLDER)
    if not name:
        raise SaelabError("no run folder was given.\n  fix:   start the app with `saelab app DIR`")
    return Path(name)


def everything() -> list[Choice]:
    """All that can be browsed."""
    return choices(folder())


def choice() -> Choice:
    """The SAE that is looked at: the one picked in the side bar or named in the link, else the first."""
    known = everything()
    picked = st.session_state.get(CHOICE)
    return picked if picked in known else known[0]


def run() -> Path:
    """The folder of the run whose SAE is looked at: DIR of DIR/sae/<name>."""
    return choice().checkpoint.parent.parent


def named(sae: str) -> Choice:
    """An SAE of this run by its name, which must be one of those there are."""
    return next(one for one in everything() if (one.run, one.sae) == (choice().run, sae))


def index() -> Index:
    """The feature index of the SAE that is looked at; it reads itself anew when it has been built anew."""
    return _index(str(choice().index))


@st.cache_resource(max_entries=8, show_spinner=False)
def _index(path: str) -> Index:
    return Index.open(path)


def index_of(choice: Choice) -> Index:
    """The feature index of an SAE that can be browsed."""
    return _index(str(choice.index))


@contextmanager
def models() -> Iterator[tuple[Any, Any]]:
    """(language model, SAE) of the SAE that is looked at, for one page at a time."""
    place = st.empty()
    with turns.mine(PATIENCE, lambda before: _waits(place, before)):
        place.empty()
        sae = sae_of(choice())
        yield _language_model(str(sae.metadata["model_name"])), sae


def _waits(place: Any, before: int) -> None:
    """Say how many are before this page; Streamlit ends the page here when it was stopped or left."""
    which = "another page is" if before == 1 else f"{before} pages are"
    place.info(f"Waiting: {which} computing before this one.", icon=":material/hourglass_top:")


def sae_of(choice: Choice) -> Any:
    """The SAE of a choice, loaded anew when its checkpoint's weights are others than before."""
    return _sae(str(choice.checkpoint), index_of(choice).facts["weights"])


@st.cache_resource(max_entries=2, show_spinner="Loading the language model …")
def _language_model(name: str) -> Any:
    from saelab.lm import LanguageModel

    return LanguageModel.load(name)


@st.cache_resource(max_entries=4, show_spinner="Loading the SAE …")
def _sae(checkpoint: str, weights: str) -> Any:
    from saelab.sae import SAE

    return SAE.load(Path(checkpoint))


@contextmanager
def stoppable() -> Iterator[Any]:
    """A button that stops what runs inside the block, and the place it stands at, which is free afterwards.

    It needs no code of its own: Streamlit ends a page's run when any of its buttons is pressed.
    """
    place = st.empty()
    place.button("Stop", icon=":material/stop:")
    try:
        yield place
        place.empty()
    except SaelabError:
        place.empty()
        raise


def stop_if_asked() -> None:
    """End this page's run here if it was stopped, left or changed: Streamlit looks when the session is read."""
    st.session_state.get(CHOICE)


def once(name: str, key: object, compute: Callable[[], T]) -> T:
    """The last answer to a question of this session, computed again when `key` differs or another SAE is looked at."""
    asked = (key, str(choice().checkpoint), index().generation)
    held = st.session_state.get(name)
    if held is None or held[0] != asked:
        st.session_state[name] = held = (asked, compute())
    return held[1]
