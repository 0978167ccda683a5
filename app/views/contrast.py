"""Page: which features fire more in one set of texts than in another."""

import streamlit as st

from saelab.app.widgets import contrasting, notices, state

index = state.index()
st.header("Contrast", anchor=False)
asked = contrasting.form()
if asked is None:
    notices.empty(
        "What tells them apart?",
        "Give two sets of texts, two or more in each, and compare.",
        ":material/compare_arrows:",
    )
    st.stop()
contrasting.result(contrasting.compared(asked, index), index)
