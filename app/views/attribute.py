"""Page: which features a prediction comes from, by gradient and by ablation."""

import streamlit as st

from saelab.app.widgets import attributions, explained, notices, state

index = state.index()
st.header("Attribute", anchor=False)
asked = explained.form()
if asked is None:
    notices.empty("What does a prediction come from?", "Give a text and a target, then attribute.",
                  ":material/account_tree:")  # fmt: skip
    st.stop()

found = explained.answered(asked)
attributions.tiles(found)
left, right = st.columns([0.55, 0.45], gap="large")
with left:
    picked = attributions.table(found, index)
with right:
    attributions.agreement(found)
attributions.where(found, picked, index)
