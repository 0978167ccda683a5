"""What the app says when something is missing, wrong or empty: plain words, never a traceback."""

import streamlit as st

from saelab.app.widgets.tokens import markdown
from saelab.errors import SaelabError


def problem(error: SaelabError) -> None:
    """A mistake that can be put right, in the error's own words; its further lines (origin, fix) stay lines."""
    first, *rest = str(error).splitlines() or [type(error).__name__]
    st.error("  \n".join([markdown(first), *(markdown(line.strip()) for line in rest)]), icon=":material/error:")


def note(text: str | None) -> None:
    """One line the reader should see, when there is one: a link that asked for what there is not."""
    if text:
        st.warning(markdown(text), icon=":material/info:")


def empty(title: str, text: str, icon: str = ":material/inbox:") -> None:
    """Where something would stand: why nothing does."""
    with st.container(border=True, horizontal_alignment="center", gap=None):
        st.space("small")
        st.markdown(f"{icon} **{markdown(title)}**", width="content")
        st.caption(markdown(text), width="content")
        st.space("small")
