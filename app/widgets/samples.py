"""Examples that are drawn when asked for: by interval of activation, and where a feature is silent; and the check of a
stored activation against the model."""

import streamlit as st

from saelab.app.widgets import cards, figures, notices, state, stored
from saelab.errors import SaelabError
from saelab.features import Example, FeatureCard, Index, recheck

HOW = {
    "strongest": "how top",
    "by quantile": "how sampled",
    "by interval": "Five equally wide intervals from zero to the feature's maximum; up to five random examples each, "
    "one per context. The share is of the tokens on which the feature fires.",
    "silent": "Random places of the corpus where the feature is zero on every token that is shown.",
}
CHECK = (
    "Stored: as the index keeps it, in half precision. Again: the SAE on the store's row. Live: the language model on "
    "the context, then the SAE. They agree when both lie within 2 % of the feature's maximum."
)
NO_STORE = "Their text is in the run's store, which is not here (no folder `store` beside `index`)."


def shown(card: FeatureCard, index: Index, kind: str, lines: bool) -> None:
    """The examples of the kind that was asked for, and how they were chosen."""
    if kind != "silent":
        cards.scale(card.stats.max)
    how = HOW[kind]
    st.caption(str(index.facts.get(how, "")) if how.startswith("how ") else how)
    if kind == "strongest":
        cards.examples(card.top, card.stats.max, lines)
    elif kind == "by quantile":
        cards.by_quantile(card, lines)
    elif (store := stored.store()) is None:
        notices.empty("Not here", NO_STORE)
    elif kind == "silent":
        _silent(index.silent(stored.rows(store), card.feature), card, lines)
    else:
        for one in index.intervals(stored.rows(store), card.feature):
            st.caption(f"{one.low:.3g} to {one.high:.3g} · {one.count:,} tokens, {one.share:.1%}")
            cards.examples(one.examples, card.stats.max, lines)


def _silent(found: tuple[Example, ...], card: FeatureCard, lines: bool) -> None:
    if not found:
        notices.empty("Hardly ever silent", "In 400 random places it fired somewhere nearby.")
    cards.examples(found, card.stats.max, lines)


@st.fragment
def check(card: FeatureCard, index: Index) -> None:
    """One of the strongest examples computed anew: does the index say what the model does?"""
    store = stored.store()
    with st.expander("Check a stored activation against the model", icon=":material/rule:"):
        if store is None:
            st.caption(NO_STORE)
            return
        with st.form("recheck", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
            rank = st.number_input("Example, by rank", 1, len(card.top), 1, width=160)
            asked = st.form_submit_button("Compute", icon=":material/play_arrow:")
        if asked:
            _checked(card, index, card.top[int(rank) - 1])
        st.caption(CHECK)


def _checked(card: FeatureCard, index: Index, example: Example) -> None:
    store = stored.store()
    assert store is not None
    try:
        with state.models() as (lm, sae):
            found = recheck(index, store, lm, sae, stored.rows(store), card.feature, example.row)
    except SaelabError as error:
        notices.problem(error)
        return
    figures.tiles_row([(name, f"{value:.4f}", "") for name, value in
                       (("stored", found.stored), ("again", found.again), ("live", found.live))])  # fmt: skip
    (st.success if found.agrees else st.error)("They agree." if found.agrees else "They do not agree.")
