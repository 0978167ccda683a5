"""Page: the trainings of the folder: curves, redrawn while they run, and two checkpoints side by side."""

import streamlit as st

from saelab.app.widgets import comparison, curves, notices, state
from saelab.train.history import trainings

known = trainings(state.folder())
st.header("Runs", anchor=False)
if not known:
    notices.empty("Nothing was trained here", "saelab train writes to DIR/sae; its curves appear here as it runs.")
    st.stop()
curves.overview(known)

st.subheader("Two checkpoints side by side", anchor=False, divider="gray")
if (chosen := comparison.pair(known)) is None:
    st.stop()
first, second = chosen
found = comparison.of(first, second)
comparison.tiles(found)
left, right = st.columns([0.4, 0.6], gap="large")
with left:
    comparison.cosines(found)
    comparison.densities(found)
with right:
    if (feature := comparison.changed(found)) is not None:
        comparison.open_feature(second, feature)
