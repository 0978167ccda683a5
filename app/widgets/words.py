"""What a language model of one's own says that a feature stands for, how well its words do, and asking it anew."""

from typing import Any

import streamlit as st

from saelab.app.widgets import notices, progress, state, stored, tokens
from saelab.errors import SaelabError
from saelab.explain.explaining import SHOWN, explain_and_keep
from saelab.explain.kept import SCORES, Explanation, explanation_of
from saelab.explain.llm import KEY, LLM, MODEL, URL
from saelab.features import FeatureCard, Index
from saelab.signs import cut

HOW = {
    "detection": "Does the feature fire in this text? Half of the texts it does, half not",
    "fuzzing": "Does it fire on the marked tokens? Half of the marks are right, half on tokens where it is zero",
}
JUDGED = (
    ". Answered by the same model, which reads the words alone, on texts they were not made from. Balanced accuracy = "
    "(share of the true called true + share of the false called false) / 2; 0.5 is chance. In brackets: the interval "
    "that holds the true value in 95 of 100 cases."
)
UNSET = (
    f"To have features explained here by a model of your own, set `{URL}` and `{MODEL}` (and `{KEY}`, if it needs a "
    "key) in the environment in which the app is started."
)
SENT = (
    f"Sends its {SHOWN} strongest examples, pieces of your text, and keeps what is said in `explanations.json` beside "
    "the index."
)
NO_STORE = "Scores need texts in which it is silent, from the run's store, which is not here."


@st.fragment
def panel(index: Index, card: FeatureCard) -> None:
    """The words that are kept, and a button that asks for others where the environment names a model to ask."""
    if not card.top:
        return
    place = st.empty()
    _kept(place, index, card.feature)
    try:
        llm = LLM.from_environment()
    except SaelabError as error:
        notices.problem(error)
        return
    if llm is None:
        st.caption(UNSET)
    else:
        _ask(llm, index, card.feature, place)


def _kept(place: Any, index: Index, feature: int) -> None:
    """Draw what is kept into `place`, an element of its own."""
    with place.container():
        try:
            found = explanation_of(index, feature)
        except SaelabError as error:
            notices.problem(error)
            return
        if found is not None:
            _shown(found)


def _shown(found: Explanation) -> None:
    with st.container(gap="small"):
        st.html(tokens.note(found.text))
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            for name in SCORES:
                if (score := getattr(found, name)) is not None:
                    low, high = score.interval
                    st.badge(f"{name} {score.balanced_accuracy:.2f} ({low:.2f}–{high:.2f})", color="gray",
                             help=f"{HOW[name]}{JUDGED} {score.true + score.false} questions.")  # fmt: skip
        st.html(tokens.aside(f"said by {cut(found.model)} at {cut(found.url)}, {cut(found.when)}"))


def _ask(llm: LLM, index: Index, feature: int, place: Any) -> None:
    store = stored.store()
    with st.container(horizontal=True, gap="medium", vertical_alignment="center"):
        asked = st.button("Explain", icon=":material/forum:", key=f"explain {feature}", help=SENT)
        scored = st.toggle("and score it", store is not None, disabled=store is None, key="explain and score",
                           help=NO_STORE if store is None else "Some twenty to forty more questions.")  # fmt: skip
        st.html(tokens.aside(f"asks {cut(llm.model)} at {cut(llm.url)}"), width="content")
    if not asked:
        return
    bar = st.empty()
    try:
        with state.stoppable():
            rows = stored.rows(store) if store is not None and scored else None
            explain_and_keep(llm, index, feature, rows, progress.Bar(bar, f"Asking {tokens.markdown(cut(llm.model))}"))
    except SaelabError as error:
        notices.problem(error)
    finally:
        bar.empty()
    _kept(place, index, feature)
