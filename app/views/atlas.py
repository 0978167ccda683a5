"""Page: all features at once, in charts that filter each other through one line of SQL."""

import streamlit as st

from saelab.app.widgets import atlas, notices, state
from saelab.errors import SaelabError
from saelab.features import Where

index = state.index()
st.header("Atlas", anchor=False)
asked = atlas.where()
try:
    found = index.atlas(asked)
except SaelabError as error:
    notices.problem(error)
    asked, found = Where(), index.atlas()

atlas.classes(index, found)
left, right = st.columns(2, gap="large")
with left:
    atlas.density_chart(found)
with right:
    atlas.map_chart(found, index.facts.get("how map", ""))
st.caption("Drag over one of these charts, or click a bar below, to filter by it; tick a row to open its feature.")
charts, features = st.columns([0.4, 0.6], gap="large")
with charts:
    atlas.cosine_chart(found)
    if found.groups:
        atlas.kinds_chart("Matryoshka groups", "Group 1 is the innermost.", "matryoshka_group", found.groups)
    if found.kinds:
        atlas.kinds_chart("Kinds of labels", atlas.KINDS_HOW, "kind", found.kinds)
with features:
    chosen = atlas.table(index, asked)
    atlas.as_command(index, asked)
if chosen is not None:
    atlas.open_feature(chosen)
