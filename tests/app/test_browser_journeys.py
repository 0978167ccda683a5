"""Journeys in a real browser: a dose curve, an ablation, a link in another browser, a saved page, hostile input."""

import json
from urllib.parse import quote

import pytest

from saelab.explain.llm import KEY, MODEL, URL
from saelab.features.notes import NAME as NOTES

from .test_browser import PATIENCE, address, page, pytestmark  # noqa: F401

SCRIPT = "<script>alert(1)</script><img src=https://example.com/x onerror=alert(2)> **b** :material/bolt: \u202e"
LINKS = [
    "?sae={bad}&sort={bad}&page={bad}",
    "atlas?where={bad}",
    "feature?feature={bad}",
    "feature?feature=3&view={bad}&line={bad}",
    "search?q={bad}&by={bad}",
    "try?text={bad}&span={bad}",
    "steer?steer={bad}&text={bad}&tokens={bad}&mode={bad}",
    "ablate?feature={bad}&mode={bad}&position={bad}",
    "attribute?target={bad}&verify={bad}",
    "contrast?a={bad}&b={bad}",
    "runs?run={bad}",
]


def test_a_feature_is_steered_with_and_its_dose_curve_stands_beside_its_controls(address, page):  # noqa: F811
    page.goto(f"{address}/steer?steer=3:1&text=def&tokens=4")
    page.get_by_role("button", name="Dose curve").click()
    page.get_by_role("heading", name="Dose curve of feature 3").wait_for()
    drawn = page.locator(".js-plotly-plot .legendtext")
    drawn.first.wait_for()
    assert {"the feature", "random direction", "another feature"} <= set(drawn.all_text_contents())


def test_an_ablation_shows_the_full_beside_the_direct_effect_and_a_link_shows_it_again(address, page):  # noqa: F811
    page.goto(f"{address}/ablate?feature=3&text=def%20area(w)")
    drawn = page.locator(".js-plotly-plot .legendtext")
    drawn.first.wait_for()
    assert {"full", "direct"} <= set(drawn.all_text_contents())
    page.get_by_role("button", name="Measure").click()
    page.wait_for_url("**mode=zero**")
    drawn.first.wait_for()

    other = page.context.browser.new_page()
    other.set_default_timeout(PATIENCE)
    other.goto(page.url)  # what the address bar holds is all that another browser gets
    other.locator(".js-plotly-plot .legendtext").first.wait_for()
    assert other.get_by_label("Text").input_value() == "def area(w)"
    assert other.url == page.url
    other.close()


def test_without_a_language_model_to_ask_the_feature_page_says_how_to_name_one(address, page, busiest):  # noqa: F811
    page.goto(f"{address}/feature?feature={busiest}")
    said = page.get_by_text("To have features explained here").inner_text()
    assert all(name in said for name in (URL, MODEL, KEY))
    assert page.get_by_role("button", name="Explain").count() == 0


def test_a_saved_page_opens_from_disk_and_asks_for_nothing(address, page, tmp_path):  # noqa: F811
    page.goto(f"{address}/feature?feature=3")
    with page.expect_download() as exported:
        page.get_by_role("button", name="HTML").click()
    saved = tmp_path / "feature.html"
    exported.value.save_as(saved)
    page.asked.clear()
    page.goto(saved.as_uri())
    assert page.get_by_role("heading", name="Feature 3").count() == 1
    assert page.asked == [saved.as_uri()]


@pytest.fixture
def hostile_notes(index):
    """A notes file that somebody else wrote."""
    file = index.path / NOTES
    file.write_text(json.dumps({"format": 1, "weights": 7, "notes": {"3": {"label": SCRIPT * 50}}}), encoding="utf-8")
    yield
    file.unlink()


def test_hostile_links_and_a_hostile_notes_file_change_nothing_but_text(address, page, hostile_notes):  # noqa: F811
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    for link in LINKS:
        page.goto(f"{address}/{link.format(bad=quote(SCRIPT))}")
        page.get_by_test_id("stHeading").first.wait_for()
        assert page.locator("script", has_text="alert(1)").count() == 0, link
        assert page.locator("img[src^='https://example.com']").count() == 0, link
    assert not dialogs
    assert not [url for url in page.asked if not url.startswith((address, "data:", "blob:"))]
