"""The whole app in a real browser: table, feature, steering that streams, and not one request leaves the machine."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from saelab.explain.llm import KEY, MODEL, URL

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
PATIENCE = 240_000  # ms: a machine that does other things as well takes its time to load torch
START = """
import sys
from pathlib import Path
from saelab.app.launch import launch
launch(Path(sys.argv[1]), port=int(sys.argv[2]), browser=False)
"""
SEEN = """() => {
    window.seen = new Set();
    const count = () => window.seen.add(document.querySelectorAll('.sl-text span[data-v^="p ="]').length);
    new MutationObserver(count).observe(document.body, {childList: true, subtree: true, characterData: true});
}"""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium"),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="needs playwright: pip install '.[dev]'"),
]


@pytest.fixture(scope="module")
def address(run_dir: Path) -> Iterator[str]:
    """Where the launcher serves the tiny run."""
    with serving(run_dir) as started:
        yield started


@contextmanager
def serving(folder: Path, **more: str) -> Iterator[str]:
    """Where the launcher serves a folder, until the block ends; `more` is the environment it has beside ours.

    Of ours it has no language model to ask, so that no test sends anything to the one of whoever runs it.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ours = {name: value for name, value in os.environ.items() if name not in (URL, MODEL, KEY)}
    environment = {**ours, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **more}
    server = subprocess.Popen([sys.executable, "-c", START, str(folder), str(port)], env=environment,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        _wait(server, f"http://127.0.0.1:{port}/_stcore/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()  # it holds nothing that would have to be saved
        server.wait()


def _wait(server: "subprocess.Popen[bytes]", health: str) -> None:
    until = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < until:
        assert server.poll() is None, "the server has ended"
        try:
            with urllib.request.urlopen(health, timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.2)
    pytest.fail("the server did not answer")


@pytest.fixture
def page() -> Iterator[Any]:
    """A browser's page that notes every address it asks for."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, headless=True)
        opened: Any = browser.new_page(viewport={"width": 1280, "height": 1000})
        opened.set_default_timeout(PATIENCE)
        opened.asked = []
        opened.on("request", lambda request: opened.asked.append(request.url))
        yield opened
        browser.close()


def test_from_the_table_to_a_feature_to_steered_text_that_streams(address, page):
    page.goto(address)
    page.get_by_text("tokens indexed").wait_for()
    table = page.get_by_test_id("stDataFrame").locator(".dvn-scroller")
    table.click(position={"x": 16, "y": 45})  # the box before the first row
    page.get_by_text("What it writes").wait_for()
    assert "feature=" in page.url

    page.get_by_test_id("stPageLink").get_by_text("Steer").click()
    page.get_by_role("button", name="Generate").wait_for()
    assert "steer=" in page.url
    page.get_by_label("Prompt").fill("def")
    page.get_by_label("Tokens").fill("20")
    page.evaluate(SEEN)
    page.get_by_role("button", name="Generate").click()
    page.get_by_text("20 tokens in").wait_for()
    seen = page.evaluate("() => [...window.seen]")
    assert max(seen) == 80  # 20 of each of the four rows
    assert len([count for count in seen if 0 < count < 80]) >= 1  # some were there before the others
    assert "text=def" in page.url

    elsewhere = [url for url in page.asked if not url.startswith((address, "data:", "blob:"))]
    assert not elsewhere


def test_a_link_to_a_feature_opens_it_with_everything_around_it(address, page):
    page.goto(f"{address}/feature?feature=3")
    page.get_by_role("heading", name="Feature 3").wait_for()
    page.get_by_role("link", name="Overview").wait_for()


def test_from_a_token_to_a_feature_that_is_named_to_a_span_of_a_text_and_a_contrast(address, page, index):
    page.goto(f"{address}/search?q=f")
    table = page.get_by_test_id("stDataFrame").locator(".dvn-scroller")
    table.click(position={"x": 16, "y": 45})  # the box before the first row
    page.get_by_role("button", name="Name it").click()
    page.get_by_label("Label").fill("<img src=x> mine")
    page.get_by_role("button", name="Keep").click()
    page.get_by_test_id("stMarkdownContainer").get_by_text("<img src=x> mine").first.wait_for()
    assert [note.label for note in index.notebook.notes.values()] == ["<img src=x> mine"]
    with page.expect_download() as exported:
        page.get_by_role("button", name="HTML").click()
    assert "&lt;img src=x&gt; mine" in exported.value.path().read_text(encoding="utf-8")

    page.goto(f"{address}/try?text=def%20area")
    first, last = (page.locator(f".sl-pick [data-i='{i}']") for i in (1, 3))
    first.hover()
    page.mouse.down()
    last.hover()
    page.mouse.up()
    page.get_by_text("features fire on 3 tokens").wait_for()
    assert "span=1-3" in page.url

    page.goto(f"{address}/contrast")
    page.get_by_label("Set A").fill("aaa\naba\naa")
    page.get_by_label("Set B").fill("zz\nzyz\nzzz")
    page.get_by_role("button", name="Compare").click()
    page.get_by_text("3 texts in A, 3 in B").wait_for()
    page.get_by_text("strongest in A").or_(page.get_by_text("It fires in no text of A")).first.wait_for()

    elsewhere = [url for url in page.asked if not url.startswith((address, "data:", "blob:"))]
    assert not elsewhere
    for file in index.path.glob("notes*"):
        file.unlink()
