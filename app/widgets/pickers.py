"""Choosing what to look at. A choice stands in the address, so that a view can be sent as a link, and in the session,
so that it is still there on the next page."""

from dataclasses import dataclass

import streamlit as st

from saelab.app.catalogue import Choice
from saelab.app.widgets import links, notices, state

FEATURE = "at feature"
TYPED = "feature number"
EXAMPLES = ("strongest", "by quantile", "by interval", "silent")


def sae() -> None:
    """Keep the SAE that the link or the reader chose; a picker in the side bar where there are several."""
    known = state.everything()
    asked = {"run": st.query_params.get("run"), "name": st.query_params.get("sae")}
    if state.CHOICE not in st.session_state or any(asked.values()):
        st.session_state[state.CHOICE], text = links.sae(asked["run"], asked["name"], known)
        notices.note(text)
    if len(known) > 1:
        now = state.choice()
        with st.sidebar:
            picked = st.selectbox("SAE", known, index=known.index(now), format_func=_name)
        if picked != now:
            _look_at(picked)
        _say(now, several_runs=len({one.run for one in known}) > 1)


def _name(choice: Choice) -> str:
    return f"{choice.run} / {choice.sae}"


def _look_at(picked: Choice) -> None:
    st.session_state[state.CHOICE] = picked
    _say(picked, several_runs=True)
    st.rerun()


def _say(choice: Choice, several_runs: bool) -> None:
    """Name the SAE in the address; its run too where there are several."""
    if several_runs:
        st.query_params["run"] = choice.run
    st.query_params["sae"] = choice.sae


def here() -> dict[str, str]:
    """What a link to another page must say so that it shows the same SAE."""
    return {key: st.query_params[key] for key in ("run", "sae") if key in st.query_params}


def feature(n: int) -> int:
    """The feature the address names, or the one last looked at, kept in both; `n` is how many there are."""
    last = st.session_state.get(FEATURE, 0)
    chosen, text = links.feature(st.query_params.get("feature"), n, last if last < n else 0)
    notices.note(text)
    st.session_state[FEATURE] = chosen
    st.query_params["feature"] = str(chosen)
    return chosen


def step_through(chosen: int, n: int) -> None:
    """A field to type another feature in, and buttons (also the arrow keys) for the one before and after."""
    st.session_state[TYPED] = chosen
    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="bottom", gap="small"):
        st.button("Previous", icon=":material/chevron_left:", shortcut="Left", disabled=chosen == 0, on_click=_go,
                  args=(chosen - 1,))  # fmt: skip
        st.number_input("Feature", 0, n - 1, key=TYPED, on_change=_typed, width=120, label_visibility="collapsed")
        st.button("Next", icon=":material/chevron_right:", icon_position="right", shortcut="Right",
                  disabled=chosen == n - 1, on_click=_go, args=(chosen + 1,))  # fmt: skip


def _go(chosen: int) -> None:
    st.query_params["feature"] = str(chosen)


def _typed() -> None:
    _go(st.session_state[TYPED])


@dataclass(frozen=True)
class ExamplesView:
    """Which examples are shown (one of EXAMPLES), and whether with line breaks or each on one line."""

    kind: str
    lines: bool


def examples_view() -> ExamplesView:
    """Which examples, and whether line breaks break lines. Kept from feature to feature."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        kind = st.segmented_control("Examples", EXAMPLES, default=EXAMPLES[0], required=True,
                                    key="examples", label_visibility="collapsed", persist_state="session")  # fmt: skip
        lines = st.toggle("line breaks", key="lines", persist_state="session")
    return ExamplesView(kind or EXAMPLES[0], lines)


def histogram_scale(how: str) -> bool:
    """Whether the histogram counts on a logarithmic axis."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.subheader("How strongly it fires", anchor=False, help=how or None)
        picked = st.segmented_control("Axis", ("linear", "log"), default="linear", required=True, key="scale",
                                      label_visibility="collapsed", persist_state="session")  # fmt: skip
    return picked == "log"
