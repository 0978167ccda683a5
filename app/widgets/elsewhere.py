"""The features of another SAE of the same site that write in nearly the same direction."""

import streamlit as st

from saelab.app.catalogue import Choice, headline
from saelab.app.widgets import notices, state, tokens
from saelab.errors import SaelabError
from saelab.features import across


def others() -> list[Choice]:
    """The other SAEs here that were trained on the same site of the same model."""
    now = state.choice()
    place = _place(now)
    return [one for one in state.everything() if one != now and _place(one) == place]


def _place(choice: Choice) -> tuple[str, str]:
    told = headline(choice.checkpoint)
    return told.model, told.site


@st.fragment
def nearest(feature: int) -> None:
    """The nearest decoder rows in an SAE that is picked; nothing where there is no other."""
    known = others()
    if not known:
        return
    st.subheader("In another SAE", anchor=False, help="By cosine of decoder rows, this one and the other SAE's.")
    several = len({one.run for one in [*known, state.choice()]}) > 1
    picked = st.selectbox("SAE", known, label_visibility="collapsed",
                          format_func=lambda one: f"{one.run} / {one.sae}" if several else one.sae)  # fmt: skip
    try:
        found = across(state.sae_of(state.choice()), feature, state.sae_of(picked), state.index_of(picked).labels)
    except SaelabError as error:
        notices.problem(error)
        return
    with st.container(gap=None, key="links across"):
        for one in found:
            stands_for = f" {tokens.markdown(one.label.text)}" if one.label else ""
            query = {"run": picked.run, "sae": picked.sae, "feature": str(one.feature)}
            st.page_link("views/feature.py", label=f"`{one.cosine:.2f}` **{one.feature}**{stands_for}", icon="",
                         width="stretch", query_params=query)  # fmt: skip
