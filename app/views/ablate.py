"""Page: what a text's predictions lose when features are taken away."""

import streamlit as st

from saelab.app.widgets import effects, notices, removal, state

index = state.index()
st.header("Ablate", anchor=False)
asked = removal.form(index)
if asked is None:
    notices.empty("What do they do?", "Choose features and a text, then measure.", ":material/content_cut:")
    st.stop()

result = removal.measured(asked, index)
effects.tiles(result)
effects.draw(result)
left, right = st.columns([0.6, 0.4], gap="large")
with left:
    effects.table(result)
with right:
    effects.changed_tokens(result)
