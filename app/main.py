"""The app's entry: pages, the SAE that is looked at, and one place where mistakes are told.

The pages lie in `views`, because Streamlit would take a folder called `pages` for its older kind of app, in which a
link to a page runs that page alone, past this file.
"""

import streamlit as st

from saelab.app.widgets import notices, pickers, style
from saelab.errors import SaelabError

ICON = (  # drawn here: Streamlit would fetch an icon or emoji for the browser's tab from the network
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#1f6fc5"/>'
    '<g fill="#fff"><circle cx="9" cy="16" r="2"/><circle cx="16" cy="16" r="5"/><circle cx="24" cy="16" r="3"/></g>'
    "</svg>"
)
st.set_page_config(page_title="saelab", page_icon=ICON, layout="wide")
style.apply()

PAGES = [
    st.Page("views/overview.py", title="Overview", icon=":material/grid_view:", default=True),
    st.Page("views/atlas.py", title="Atlas", icon=":material/bubble_chart:", url_path="atlas"),
    st.Page("views/runs.py", title="Runs", icon=":material/show_chart:", url_path="runs"),
    st.Page("views/feature.py", title="Feature", icon=":material/scatter_plot:", url_path="feature"),
    st.Page("views/search.py", title="Search", icon=":material/search:", url_path="search"),
    st.Page("views/try_text.py", title="Try a text", icon=":material/edit_note:", url_path="try"),
    st.Page("views/contrast.py", title="Contrast", icon=":material/compare_arrows:", url_path="contrast"),
    st.Page("views/steer.py", title="Steer", icon=":material/alt_route:", url_path="steer"),
    st.Page("views/ablate.py", title="Ablate", icon=":material/content_cut:", url_path="ablate"),
    st.Page("views/attribute.py", title="Attribute", icon=":material/account_tree:", url_path="attribute"),
]

page = st.navigation(PAGES, position="top")
try:
    if page.url_path != "runs":  # which shows trainings, also where nothing has been indexed yet
        pickers.sae()
    page.run()
except SaelabError as error:
    notices.problem(error)
