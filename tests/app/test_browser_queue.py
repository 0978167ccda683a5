"""Two browsers on one app: the second waits its turn, sees its place, and may give it up."""

import time
from contextlib import ExitStack

import pytest

from .test_browser import CHROMIUM, FLAGS, PATIENCE, address, pytestmark  # noqa: F401

WAITED = """() => {
    window.waited = false;
    const look = () => { window.waited ||= document.body.innerText.includes('Waiting: another page is computing'); };
    new MutationObserver(look).observe(document.body, {childList: true, subtree: true, characterData: true});
}"""

# At a moment that both are told beforehand: on a busy machine the driver's second click comes after the first's text.
PRESS = """at => {
    const button = [...document.querySelectorAll('button')].find(one => one.innerText.includes('Generate'));
    setTimeout(() => button.click(), at - Date.now());
}"""


@pytest.fixture
def browsers():
    """Two that know nothing of each other."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, ExitStack() as stack:
        pages = []
        for _ in range(2):
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, headless=True)
            stack.callback(browser.close)
            pages.append(browser.new_page(viewport={"width": 1280, "height": 1000}))
            pages[-1].set_default_timeout(PATIENCE)
        yield pages


def test_the_second_browser_waits_its_turn_and_both_get_their_text(address, browsers):  # noqa: F811
    for page in browsers:
        page.goto(f"{address}/steer?text=def&tokens=12&seed=3&temperature=0")
        page.get_by_role("button", name="Generate").wait_for()
        page.evaluate(WAITED)
    at = 1000 * (time.time() + 4)
    for late, page in enumerate(browsers):  # the first has to load the model: the second comes while it does
        page.evaluate(PRESS, at + 150 * late)
    for page in browsers:
        page.get_by_text("12 tokens in").wait_for()
    first, second = browsers
    assert not first.evaluate("() => window.waited")
    assert second.evaluate("() => window.waited")
    texts = [page.locator(".sl-text").all_inner_texts() for page in browsers]
    assert texts[0] == texts[1] and len(texts[0]) == 4
