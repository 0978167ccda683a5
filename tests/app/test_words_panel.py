"""What a language model says of a feature, on its page: shown, asked for, and told of when it cannot be."""

import json

import pytest

from saelab.app.export import feature_page
from saelab.explain import explaining
from saelab.explain.explaining import Questions
from saelab.explain.kept import NAME, Explanation, explanation_of, keep_explanations
from saelab.explain.llm import KEY, MODEL, URL
from saelab.explain.scoring import FEWEST, Score
from saelab.store import Store

from ..explain.serving import SECRET, believer, named, serve, unnamed  # noqa: F401
from .test_pages import html

HOSTILE = "<script>alert(1)</script> **b** :material/bolt:"


@pytest.fixture(autouse=True)
def nothing_left(unnamed, index):  # noqa: F811
    """No model in the environment, and nothing kept afterwards."""
    yield
    for file in index.path.glob(f"{NAME}*"):
        file.unlink()


@pytest.fixture
def judged(index, run_dir, monkeypatch):
    """A feature with enough texts on every side for a score; of so few contexts, few may be shown before."""
    monkeypatch.setattr(explaining, "SHOWN", 2)
    return scorable(index, Store.open(run_dir / "store"), 2)


def scorable(index, store, shown):
    """A feature with enough texts for a score beside the `shown` strongest."""
    rows = index.rows(store)
    for feature in range(index.n_features):
        asked = Questions.of(index, index.card(feature, shown), rows)
        sides = [sum(one.true == true for one in some) for some in (asked.detection, asked.fuzzing) for true in (0, 1)]
        if min(sides) >= FEWEST:
            return feature
    return pytest.fail("no feature of this SAE could be scored")


def explain(app):
    return next(button for button in app.button if button.label == "Explain").click().run()


def said(app):
    """All that is written on the page but for its HTML."""
    return " ".join(each.value for each in [*app.caption, *app.markdown])


def test_without_a_model_in_the_environment_the_panel_says_how_and_has_no_button(open_page, busiest):
    app = open_page("feature", feature=str(busiest))
    assert not app.exception and not app.error
    assert all(name in said(app) for name in (URL, MODEL, KEY))
    assert "Explain" not in [button.label for button in app.button]


def test_a_dead_feature_has_no_panel(open_page, dead):
    assert URL not in said(open_page("feature", feature=str(dead)))


def test_what_is_kept_is_shown_with_its_scores_and_who_said_it_and_nothing_becomes_markup(open_page, index, busiest):
    kept = Explanation(busiest, HOSTILE, HOSTILE, "http://localhost:1/v1", "2026-01-31T12:00:00Z",
                       str(index.facts["weights"]), Score(8, 10, 7, 10), Score(5, 10, 5, 10))  # fmt: skip
    keep_explanations(index.path, [kept])
    app = open_page("feature", feature=str(busiest))
    assert not app.exception
    assert "&lt;script&gt;alert(1)&lt;/script&gt; **b**" in html(app) and "<script" not in html(app)
    assert "detection 0.75" in said(app) and "fuzzing 0.50" in said(app)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; **b**" in (page := feature_page(index, busiest))
    assert "detection 0.75" in page and "<script" not in page
    assert "http://localhost:1/v1, 2026-01-31" in html(app) and "localhost" not in said(app)  # where it would be a link


def test_the_button_asks_and_keeps_words_and_scores_and_shows_them(open_page, index, judged, serve, named):  # noqa: F811
    url, asked = serve(believer(HOSTILE))
    named(url)
    app = explain(open_page("feature", feature=str(judged)))
    assert not app.exception and not app.error
    found = explanation_of(index, judged)
    assert (found.text, found.model, found.url) == (HOSTILE, "small", url)
    assert (found.detection.balanced_accuracy, found.fuzzing.balanced_accuracy) == (0.5, 0.5)
    assert "detection 0.50" in said(app) and "fuzzing 0.50" in said(app)
    assert "&lt;script&gt;alert(1)" in html(app) and "<script" not in html(app)
    assert asked[0][1]["Authorization"] == f"Bearer {SECRET}" and SECRET not in said(app) + html(app)


def test_words_alone_are_one_question(open_page, index, judged, serve, named):  # noqa: F811
    url, asked = serve(believer("fires on f"))
    named(url)
    app = open_page("feature", feature=str(judged))
    app.toggle(key="explain and score").set_value(False)
    explain(app.run())
    assert len(asked) == 1
    assert explanation_of(index, judged).detection is None


def test_a_server_that_refuses_is_one_message_on_the_page(open_page, index, judged, serve, named):  # noqa: F811
    named(serve((401, {}, ""))[0])
    app = explain(open_page("feature", feature=str(judged)))
    assert not app.exception
    assert len(app.error) == 1 and "401" in app.error[0].value and SECRET not in app.error[0].value
    assert explanation_of(index, judged) is None


def test_half_of_a_configuration_and_a_damaged_file_are_told_of(open_page, index, busiest, monkeypatch):
    monkeypatch.setenv(URL, "http://localhost:1/v1")
    (index.path / NAME).write_text(json.dumps({"3": 7}))
    app = open_page("feature", feature=str(busiest))
    assert not app.exception
    told = " ".join(each.value for each in app.error).replace("\\", "")
    assert "set both, or neither" in told and "explanations.json cannot be read" in told
    assert "Explain" not in [button.label for button in app.button]
