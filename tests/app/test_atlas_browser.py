"""The atlas in a real browser: a brush writes the filter that the table obeys, and a row opens its feature."""

import pytest

from .test_browser import address, page, pytestmark  # noqa: F401  # the server and the browser


@pytest.mark.usefixtures("run_dir")
def test_from_a_brush_to_the_filter_to_a_feature(address, page):  # noqa: F811
    page.goto(f"{address}/atlas")
    page.get_by_text("features pass").wait_for()
    plot = page.locator(".js-plotly-plot .nsewdrag").first
    plot.wait_for()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] - 2, steps=8)
    page.mouse.up()
    line = page.get_by_role("textbox", name="Filter (SQL)")
    written = "document.querySelector('input[aria-label=\"Filter (SQL)\"]').value.startsWith('density between')"
    page.wait_for_function(written)
    assert " and max between " in line.input_value()
    assert "where=" in page.url

    table = page.get_by_test_id("stDataFrame").locator(".dvn-scroller")
    table.click(position={"x": 16, "y": 45})  # the box before the first row
    page.get_by_text("What it writes").wait_for()
    assert "feature=" in page.url
