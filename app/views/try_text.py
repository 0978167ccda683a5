"""Page: which features fire on a text of one's own, and where."""

import streamlit as st

from saelab.app.widgets import firing, notices, state

index = state.index()
st.header("Try a text", anchor=False)
text = firing.own_text()
if text is None:
    notices.empty("Which features fire?", "Type or paste a text and run it through the model.", ":material/edit_note:")
    st.stop()

found = firing.activations(text, index)
left, right = st.columns([0.56, 0.44], gap="large")
with left:
    picked = firing.ranking(found)
with right:
    firing.where(found, firing.feature(picked, found, index.n_features), index)
