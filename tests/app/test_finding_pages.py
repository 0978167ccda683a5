"""Search, Contrast, spans of a text, and what the Feature page draws when it is asked for."""

import shutil

import pytest

from saelab.app.export import feature_page
from saelab.app.widgets import links, span
from saelab.features import TextActivations


def html(app):
    return "\n".join(each.proto.body for each in app.get("html") if "<style>" not in each.proto.body)


def said(app):
    return " ".join(each.value for each in (*app.markdown, *app.caption))


@pytest.fixture
def no_notes(index):
    yield
    for file in index.path.glob("notes*"):
        file.unlink()


def test_search_opens_empty_and_says_what_it_is_for(open_page):
    app = open_page("search")
    assert not app.exception and not app.error and not app.dataframe
    assert "Which feature?" in said(app)


def test_a_token_in_the_link_is_searched(open_page, index):
    app = open_page("search", q="f")
    assert not app.exception and not app.error
    table = app.dataframe[0].value
    assert table["f1"].is_monotonic_decreasing
    assert (table["firings"] > 0).all()
    assert set(table["feature"]) <= set(range(index.n_features))


def test_a_token_that_is_not_there_says_so(open_page):
    app = open_page("search", q="no such token")
    assert not app.exception and not app.dataframe
    assert "No such token" in said(app)


@pytest.mark.parametrize(("way", "text", "column"), [("promote", "a", "logit"), ("are called", "comment", "f1")])
def test_the_other_ways_to_search(open_page, way, text, column):
    app = open_page("search", by=way, q=text)
    assert not app.exception and not app.error
    assert app.dataframe[0].value[column].is_monotonic_decreasing


def test_hostile_words_are_searched_as_text(open_page):
    app = open_page("search", by="are called", q="<script>'; drop table features; --")
    assert not app.exception
    assert "<script" not in html(app)


def test_two_sets_are_contrasted_and_the_strongest_texts_shown(open_page):
    app = open_page("contrast")
    app.text_area(key="set a").set_value("aaa\nabab\naa")
    app.text_area(key="set b").set_value("zz\nxyz\nzxzx")
    next(button for button in app.button if button.label == "Compare").click()
    app.run()
    assert not app.exception and not app.error
    table = app.dataframe[0].value
    assert table["q"].is_monotonic_increasing
    assert (table["q"] >= table["p"]).all()
    assert "3 texts in A, 3 in B" in said(app)
    assert "no p below 0.1" in said(app)  # 2 of 20


def test_one_text_against_another_is_refused_in_words(open_page):
    app = open_page("contrast")
    app.text_area(key="set a").set_value("only one")
    next(button for button in app.button if button.label == "Compare").click()
    app.run()
    assert not app.exception
    assert "two or more of each" in app.error[0].value


def test_a_span_in_the_link_narrows_the_ranking(open_page):
    whole, part = open_page("try_text", text="def area"), open_page("try_text", text="def area", span="1-2")
    assert not part.exception and not part.error and not part.warning
    assert any("features fire on 2 tokens" in each.value for each in part.caption)
    assert len(part.dataframe[0].value) <= len(whole.dataframe[0].value)
    assert part.dataframe[0].value["tokens"].max() <= 2


@pytest.mark.parametrize("raw", ["9-3", "0-99", "x", "-1", "1-2-3", ""])
def test_a_span_that_is_none_looks_at_the_whole_text_and_says_so(raw):
    found, note = links.span(raw, 8)
    assert found is None
    assert "tokens 0 to 7" in note


def test_a_span_is_of_tokens_counted_from_zero_both_ends_included():
    assert links.span("2-5", 8) == ((2, 5), None)
    assert links.span("7", 8) == ((7, 7), None)
    assert links.span(None, 8) == (None, None)


def test_the_component_is_given_escaped_markup():
    hostile = ("<img src=x onerror=alert(1)>", "b\nc")
    found = TextActivations("", (0, 1), hostile, ((0, 1), (1, 2)), ((), ()), ())
    told = span.payload(found, (0, 1), lines=True)
    assert "<img" not in told["html"] and "&lt;img" in told["html"]
    assert told["html"].count('data-i="1"') == 2  # a token on two lines
    assert (told["first"], told["last"]) == (0, 1)


@pytest.mark.parametrize("kind", ["by interval", "silent", "by quantile"])
def test_the_feature_page_draws_other_examples(open_page, busiest, kind):
    app = open_page("feature", feature=str(busiest))
    app.button_group(key="examples").set_value(kind)
    app.run()
    assert not app.exception and not app.error
    assert 'class="sl-ex"' in html(app) or "Hardly ever silent" in said(app)


def test_a_stored_activation_is_what_the_model_does(open_page, busiest):
    app = open_page("feature", feature=str(busiest))
    next(button for button in app.button if button.label == "Compute").click()
    app.run()
    assert not app.exception and not app.error
    assert [each.value for each in app.success] == ["They agree."]
    shown = {metric.label: float(metric.value) for metric in app.metric if metric.label in ("stored", "again", "live")}
    assert shown["stored"] == pytest.approx(shown["live"], rel=0.02)


def test_a_feature_is_named_and_the_name_is_shown_and_found(open_page, index, dead, no_notes):
    app = open_page("feature", feature=str(dead))
    app.text_input(key=f"new label {dead}").set_value("<b>my label</b>")
    app.text_area(key=f"new note {dead}").set_value("never\n<script>alert(1)</script>")
    next(button for button in app.button if button.label == "Keep").click()
    app.run()
    assert not app.exception and not app.error
    assert index.labels[dead].text == "<b>my label</b>"
    assert "<script" not in html(app) and "&lt;script&gt;" in html(app)
    assert any(r"\<b\>my label" in each.value for each in app.markdown)
    found = open_page("search", by="are called", q="never")
    assert found.dataframe[0].value["feature"].tolist() == [dead]


def test_damaged_notes_are_told_of_and_the_page_stays(open_page, index, busiest, no_notes):
    (index.path / "notes.json").write_text("{damaged", encoding="utf-8")
    app = open_page("feature", feature=str(busiest))
    assert not app.exception
    assert app.header[0].value == f"Feature {busiest}"
    assert "no notes that can be read" in app.error[0].value


def test_without_a_store_the_pages_say_what_is_missing(open_page, run_dir, busiest, tmp_path, monkeypatch):
    (tmp_path / "index").symlink_to(run_dir / "index")
    shutil.copytree(run_dir / "sae", tmp_path / "sae")
    for settings in tmp_path.glob("sae/*/train.yaml"):  # which say where the store is
        settings.unlink()
    monkeypatch.setenv("SAELAB_RUN", str(tmp_path))
    app = open_page("feature", feature=str(busiest))
    app.button_group(key="examples").set_value("by interval")
    app.run()
    assert not app.exception and "no folder `store`" in said(app).replace("\\", "")
    search = open_page("search", q="f")
    assert not search.exception and not search.dataframe


def test_the_exported_page_asks_for_nothing_and_escapes_everything(index, busiest, dead):
    page = feature_page(index, busiest)
    assert page.startswith("<!doctype html>")
    assert "default-src 'none'" in page
    assert "<script" not in page and "\u202e" not in page
    assert all(word not in page for word in ("http:", "https:", "src=", "@import", "url("))
    assert page.count('class="sl-ex"') >= len(index.card(busiest).top)
    assert "never" not in page and "Feature" in feature_page(index, dead)
