"""Page: how good this SAE is, how its features are spread, and the table of all of them."""

import streamlit as st

from saelab.app.catalogue import headline
from saelab.app.widgets import browse, charts, figures, notices, pickers, state, tables

index, choice = state.index(), state.choice()
told = headline(choice.checkpoint)

st.header(choice.sae, anchor=False)
st.caption(figures.origin(told, index))
figures.headline(told, index)

left, right = st.columns([0.45, 0.55], gap="large")
with left:
    st.subheader("How often features fire", anchor=False)
    charts.draw(charts.density(index.density_histogram()), key="density figure")
with right:
    st.subheader("Which features to show", anchor=False)
    asked = browse.filters(labelled=bool(index.labels), scored=index.scored)
    found = index.features(asked.order, asked.descending, asked.where, browse.PER_PAGE, asked.offset)
    browse.pages(found.total)

if not found.rows:
    notices.empty("No feature matches", "Widen the density, or look for another word in the labels.")
elif (feature := tables.features(found.rows, key=f"features {asked}")) is not None:
    st.switch_page("views/feature.py", query_params={**pickers.here(), "feature": str(feature)})
