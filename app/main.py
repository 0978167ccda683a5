"""The app's entry: pages, the SAE that is looked at, and one place where mistakes are told."""

import streamlit as st

from saelab.app.widgets import notices, pickers, style
from saelab.errors import SaelabError

st.set_page_config(page_title="saelab", page_icon=":material/blur_on:", layout="wide")
style.apply()

PAGES = [
    st.Page("pages/overview.py", title="Overview", icon=":material/grid_view:", default=True),
    st.Page("pages/feature.py", title="Feature", icon=":material/scatter_plot:", url_path="feature"),
    st.Page("pages/try_text.py", title="Try a text", icon=":material/edit_note:", url_path="try"),
    st.Page("pages/steer.py", title="Steer", icon=":material/alt_route:", url_path="steer"),
    st.Page("pages/ablate.py", title="Ablate", icon=":material/content_cut:", url_path="ablate"),
]

page = st.navigation(PAGES, position="top")
try:
    pickers.sae()
    page.run()
except SaelabError as error:
    notices.problem(error)
