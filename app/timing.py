"""How long the server takes to draw a page, without a browser: Streamlit's AppTest runs the whole script of the app."""

import os
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from saelab.app.launch import FOLDER, MAIN
from saelab.errors import SaelabError


def feature_pages(folder: Path, features: Sequence[int]) -> list[float]:
    """Seconds that the page of each of these features takes, one after the other, in the run at `folder`.

    The first opens the index too. Raises SaelabError when a page ends in an error: its time would mean nothing.
    """
    import streamlit
    from streamlit.testing.v1 import AppTest

    before = os.environ.get(FOLDER)
    os.environ[FOLDER] = str(folder)
    try:
        app = AppTest.from_file(str(MAIN), default_timeout=120)
        app.run()
        app.switch_page("views/feature.py")
        return [_seconds(app, feature) for feature in features]
    finally:
        os.environ.pop(FOLDER) if before is None else os.environ.__setitem__(FOLDER, before)
        streamlit.cache_resource.clear()  # DuckDB complains of what is still open when the process ends


def _seconds(app, feature: int) -> float:  # type: ignore[no-untyped-def]  # streamlit is imported when it is used
    app.query_params["feature"] = str(feature)
    began = perf_counter()
    app.run()
    seconds = perf_counter() - began
    if app.exception or app.error:
        said = [*app.error, *app.exception][0].value
        raise SaelabError(f"the page of feature {feature} could not be drawn: {said}")
    return seconds
