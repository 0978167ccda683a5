"""The browser app: thin Streamlit pages over saelab's functions. `saelab app DIR` starts it."""
