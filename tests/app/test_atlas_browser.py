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


@pytest.mark.usefixtures("run_dir")
def test_a_bar_of_a_kind_of_label_and_the_least_f1_become_the_filter(address, page):  # noqa: F811
    page.goto(f"{address}/atlas")
    kinds = page.locator(".js-plotly-plot", has_text="no label")
    bar = kinds.locator(".barlayer .point").first  # of labels that say no kind, as those of the fixture
    bar.wait_for(state="attached")
    bar.evaluate("one => one.scrollIntoView({block: 'center'})")
    box = bar.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.locator(".hoverlayer .hovertext").first.wait_for()  # the chart knows what is pointed at
    page.mouse.down()
    page.mouse.up()
    page.get_by_text("2 of 24 features pass").wait_for()
    line = page.get_by_role("textbox", name="Filter (SQL)")
    assert line.input_value() == "kind = 'unsaid'"

    page.get_by_label("F1 at least").fill("0.6")
    page.get_by_label("F1 at least").press("Enter")
    page.get_by_text("1 of 24 features pass").wait_for()
    assert line.input_value() == "kind = 'unsaid' and f1 >= 0.6"
