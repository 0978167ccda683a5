"""The store of the run that is looked at: its tokens, read once for all sessions. Pages that can do without it do."""

from pathlib import Path

import streamlit as st

from saelab.app.widgets import state
from saelab.features import Rows
from saelab.runs import store_folder
from saelab.store import Store


def store() -> Store | None:
    """The store that the SAE was trained on; None when it is not there, as after moving an index alone."""
    folder = store_folder(state.choice().checkpoint)
    if folder is None or not (folder / "manifest.json").is_file():
        return None
    return _store(str(folder), (folder / "manifest.json").stat().st_mtime_ns)


@st.cache_resource(max_entries=4, show_spinner=False)
def _store(folder: str, changed: int) -> Store:
    return Store.open(Path(folder))


def rows(found: Store) -> Rows:
    """Token, document and place of every row that the index was made from."""
    index = state.index()
    return _rows(str(index.path), index.generation, found.hash, str(found.path))


@st.cache_resource(max_entries=2, show_spinner="Reading the tokens …")
def _rows(index: str, generation: int, store_hash: str, folder: str) -> Rows:
    return state.index().rows(Store.open(folder))
