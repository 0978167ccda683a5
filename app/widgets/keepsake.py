"""A feature's page to take away: one HTML file that needs nothing else."""

import streamlit as st

from saelab.app.export import feature_page
from saelab.features import Index


def download(index: Index, feature: int) -> None:
    """The button; the file is made when it is pressed."""
    name = f"{index.path.name}-feature-{feature}.html"
    st.download_button("HTML", lambda: feature_page(index, feature), name, "text/html", icon=":material/download:",
                       on_click="ignore", help="This feature as one file that opens from disk.")  # fmt: skip
