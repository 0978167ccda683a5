"""What pages share: which SAE is looked at, its index, and, only where a page computes, the models behind a lock.

Index and models are loaded once per process and shared by all sessions. One page computes at a time; a page that has
to wait too long says so instead of queueing up.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import streamlit as st

from saelab.app.catalogue import Choice, choices
from saelab.app.launch import FOLDER
from saelab.errors import SaelabError
from saelab.features import Index

PATIENCE = 20.0  # seconds a page waits for another that computes
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

_computing = threading.Lock()


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


def index() -> Index:
    """The feature index of the SAE that is looked at; it reads itself anew when it has been built anew."""
    return _index(str(choice().index))


@st.cache_resource(max_entries=8, show_spinner=False)
def _index(path: str) -> Index:
    return Index.open(path)


@contextmanager
def models() -> Iterator[tuple[Any, Any]]:
    """(language model, SAE) of the SAE that is looked at, for one page at a time."""
    if not _computing.acquire(timeout=PATIENCE):
        raise SaelabError(f"another page has been computing for more than {PATIENCE:g} s. Try again when it is done.")
    try:
        yield _models(str(choice().checkpoint), index().facts["weights"])
    finally:
        _computing.release()


@st.cache_resource(max_entries=2, show_spinner="Loading the language model and the SAE …")
def _models(checkpoint: str, weights: str) -> tuple[Any, Any]:
    """Loaded anew when the checkpoint's weights are others than before."""
    from saelab.lm import LanguageModel
    from saelab.sae import SAE

    sae = SAE.load(Path(checkpoint))
    return LanguageModel.load(str(sae.metadata["model_name"])), sae


def once(name: str, key: object, compute: Callable[[], T]) -> T:
    """The last answer to a question of this session, computed again when `key` differs or another SAE is looked at."""
    asked = (key, str(choice().checkpoint), index().generation)
    held = st.session_state.get(name)
    if held is None or held[0] != asked:
        st.session_state[name] = held = (asked, compute())
    return held[1]
