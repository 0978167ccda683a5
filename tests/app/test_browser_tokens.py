"""Tokens that somebody made to do harm, on every page that shows tokens: they change nothing but the text."""

from urllib.parse import quote

import pytest

from saelab.features import Index

from .hostile import LONG, NAME, TEXT, hostile_lm, hostile_run
from .test_browser import address, page, pytestmark  # noqa: F401

CUT = "(10,000 characters)"
HARM = {  # what would be there if a token had become more than text
    "script": "script:text-matches('^alert')",
    "picture": "img[src*='example.com']",
    "link": "a[href^='javascript']",
    "bold": ".stApp strong:text-is('markdown')",
    "handler": "[onclick], [onerror]",
}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory, tiny_lm_dir):
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "run").mkdir()
    return hostile_run(folder / "run", hostile_lm(tiny_lm_dir, folder / "lm"))


@pytest.fixture(scope="module")
def feature(run_dir):
    """A feature that fires on the long token."""
    index = Index.open(run_dir / "index" / NAME)
    return next(row.feature for row in index.features(limit=24).rows
                if any(LONG in example.tokens for example in index.card(row.feature).top))  # fmt: skip


def unharmed(page, where):  # noqa: F811
    """Nothing but text: no element of a token's making, no mark that turns text around, no page as wide as a token."""
    for name, selector in HARM.items():
        assert page.locator(selector).count() == 0, f"{name} on {where}"
    text = page.locator("body").inner_text()
    for mark in ("\u202e", "zero\u200bwidth"):  # Streamlit has zero-width spaces of its own
        assert mark not in text, where
    assert "A" * 200 not in text, where
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), where


def test_hostile_tokens_are_text_wherever_they_are_shown(address, page, feature):  # noqa: F811
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    text = quote(TEXT)
    pages = {
        f"feature?feature={feature}": ["<script>alert(1)</script>", "&#x41;", "**markdown**", ":material/home:", CUT],
        f"feature?feature={feature}&view=by%20quantile&line=true": ["**markdown**", CUT],
        "search?q=A&by=promote": [],
        "search?q=script&inside=true": ["<script>alert(1)</script>"],
        "atlas": ["Density"],
        f"try?text={text}": ["<script>alert(1)</script>", "⟨U+202E⟩", "⟨U+200B⟩"],
        f"ablate?feature={feature}&text={text}": ["logit rises"],
        f"attribute?text={text}&verify=2": ["its attribution token by token"],
        "runs": [],
        "": ["tokens indexed"],
    }
    for link, said in pages.items():
        page.goto(f"{address}/{link}")
        page.get_by_test_id("stHeading").first.wait_for()
        for words in said:
            page.get_by_text(words).first.wait_for()
        unharmed(page, link)
    assert not dialogs
    assert not [url for url in page.asked if not url.startswith((address, "data:", "blob:"))]


def test_hostile_tokens_are_text_where_they_are_written_and_compared(address, page, feature):  # noqa: F811
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(f"{address}/steer?steer={feature}:1&text={quote(TEXT)}&tokens=4")
    page.get_by_role("button", name="Generate").click()
    page.get_by_text("4 tokens in").wait_for()
    unharmed(page, "steer")
    page.get_by_role("button", name="Dose curve").click()
    page.get_by_text("Promoted tokens:").wait_for()
    unharmed(page, "dose curve")

    page.goto(f"{address}/contrast")
    page.get_by_label("Set A").fill("\n".join([TEXT] * 3))
    page.get_by_label("Set B").fill("zz\nzyz\nzzz")
    page.get_by_role("button", name="Compare").click()
    page.get_by_text("3 texts in A, 3 in B").wait_for()
    unharmed(page, "contrast")
    assert not dialogs
    assert not [url for url in page.asked if not url.startswith((address, "data:", "blob:"))]


def test_a_saved_page_of_hostile_tokens_does_nothing(address, page, feature, tmp_path):  # noqa: F811
    page.goto(f"{address}/feature?feature={feature}")
    with page.expect_download() as exported:
        page.get_by_role("button", name="HTML").click()
    saved = tmp_path / "feature.html"
    exported.value.save_as(saved)
    page.asked.clear()
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(saved.as_uri())
    page.get_by_text(CUT).first.wait_for()
    unharmed(page, "the saved page")
    assert not dialogs
    assert page.asked == [saved.as_uri()]
