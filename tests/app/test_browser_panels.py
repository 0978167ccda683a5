"""In a real browser: a feature explained by a model of one's own, taken apart into its sources, a training watched."""

import pytest

from saelab.explain.explaining import SHOWN
from saelab.explain.llm import KEY, MODEL, URL
from saelab.features import Index
from saelab.store import Store

from ..explain.serving import SECRET, answering, asked_to_judge, believer
from .test_browser import page, pytestmark, serving  # noqa: F401
from .test_runs_live import under_way
from .test_sources_panel import build
from .test_words_panel import HOSTILE, scorable

# Rows trained on at the last point of the first curve, if it is further than `seen`; there is none while it is redrawn.
FURTHER = """seen => {
    const last = Math.max(...document.querySelector('.js-plotly-plot')?.data?.[0]?.x ?? [0]);
    return last > seen && last;
}"""

NAMES_HEAD = "[data-v*='; head ']"  # tokens in the text of the source-attention panel


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder that is served: its runs stand side by side in it."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def attention(folder, tiny_lm_dir) -> Index:
    """An SAE on attention's z, over enough texts for an explanation to be scored."""
    (folder / "attention").mkdir()
    return build(folder / "attention", tiny_lm_dir, texts=60, tokens=3000)


@pytest.fixture(scope="module")
def model():
    """(address, questions so far) of a language model on loopback."""
    with answering() as start:
        yield start(believer(HOSTILE))


@pytest.fixture(scope="module")
def address(folder, attention, model):
    """Where the launcher serves the folder, with that model in its environment."""
    with serving(folder, **{URL: model[0], MODEL: "small", KEY: SECRET}) as started:
        yield started


def elsewhere(page, address):  # noqa: F811
    """What the page asked others for."""
    return [url for url in page.asked if not url.startswith((address, "data:", "blob:"))]


def test_the_button_explains_scores_and_keeps_and_what_was_said_stays_text(address, page, attention, model):  # noqa: F811
    feature = scorable(attention, Store.open(attention.path.parent.parent / "store"), SHOWN)
    page.goto(f"{address}/feature?feature={feature}")
    page.get_by_role("button", name="Explain").click()
    for score in ("detection 0.50", "fuzzing 0.50"):  # of a model that says yes to every text and no to every mark
        page.get_by_text(score).first.wait_for()
    assert page.locator(".sl-note").inner_text() == HOSTILE
    assert page.get_by_text("said by small").count() == 1
    words, *judged = [body for _, _, body in model[1]]
    assert not asked_to_judge(words) and judged and all(map(asked_to_judge, judged))
    assert {head["Authorization"] for _, head, _ in model[1]} == {f"Bearer {SECRET}"}
    assert SECRET not in page.content()

    page.reload()
    page.get_by_text("detection 0.50").first.wait_for()
    assert page.locator(".sl-note").inner_text() == HOSTILE
    assert len(model[1]) == 1 + len(judged)  # it was kept, and not asked for again
    assert not elsewhere(page, address)


def heads_named(page):  # noqa: F811
    """The heads that the tokens of the text say they are read through."""
    notes = page.locator(NAMES_HEAD).evaluate_all("all => all.map(one => one.dataset.v)")
    return {note.split("; ")[1].split(":")[0] for note in notes}


def test_an_attention_feature_is_taken_apart_into_source_tokens_and_heads(address, page, attention):  # noqa: F811
    feature = attention.features(limit=1).rows[0].feature
    page.goto(f"{address}/feature?feature={feature}")
    page.get_by_text("Which source tokens it comes from").click()
    page.get_by_role("button", name="Take apart").click()
    metrics = page.get_by_test_id("stExpander").get_by_test_id("stMetric")
    metrics.filter(has_text="pre-activation").wait_for()

    # to four decimals each
    told = {name: float(metrics.filter(has_text=name).get_by_test_id("stMetricValue").inner_text())
            for name in ("contributions", "bias", "pre-activation")}  # fmt: skip
    assert told["contributions"] + told["bias"] == pytest.approx(told["pre-activation"], abs=2e-4)
    page.get_by_test_id("stExpander").get_by_test_id("stDataFrame").wait_for()  # the last to be drawn: nothing moves
    other = min(heads_named(page) - {"head 2"})  # each token names the head that most of it goes through

    head = page.get_by_role("combobox", name="Head")
    head.evaluate("one => one.scrollIntoView({block: 'center'})")  # to scroll after it has dropped down would close it
    head.click()
    page.get_by_role("option", name="2", exact=True).click()
    page.locator(f"[data-v*='; {other}: ']").first.wait_for(state="detached")
    page.locator(NAMES_HEAD).first.wait_for()
    assert heads_named(page) == {"head 2"}
    assert not elsewhere(page, address)


def test_the_curves_of_a_training_go_on_while_nobody_touches_the_page(address, page, folder):  # noqa: F811
    (folder / "live").mkdir()
    with under_way(folder / "live"):
        page.goto(f"{address}/runs")
        seen = [0]
        for _ in range(3):  # the first look, and two redrawings
            seen.append(page.wait_for_function(FURTHER, arg=seen[-1]).json_value())
    assert seen == sorted(set(seen))
    assert not elsewhere(page, address)
