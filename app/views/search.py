"""Page: features found by a token or by words, without a language model."""

import streamlit as st

from saelab.app.widgets import finding, notices, pickers, state

index = state.index()
st.header("Search", anchor=False)
way, text, contains = finding.form()
if not text:
    notices.empty(
        "Which feature?", "Type a token or words. To search with a whole text, use Try a text.", ":material/search:"
    )
elif (feature := finding.answer(index, way, text, contains)) is not None:
    st.switch_page("views/feature.py", query_params={**pickers.here(), "feature": str(feature)})
