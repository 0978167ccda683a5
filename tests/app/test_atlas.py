"""The atlas: one line of SQL that charts, buttons and people write, and that no page is lost over."""

import json

import pytest

from saelab.app.widgets import atlas_charts
from saelab.features import Where, read_filters


def html_of(app):
    return " ".join(each.value for each in app.markdown)


def shown(app):
    return app.dataframe[0].value["feature"].tolist()


def test_the_atlas_shows_every_feature_and_its_charts(open_page, index):
    app = open_page("atlas")
    assert not app.exception and not app.error
    assert len(shown(app)) == index.n_features
    assert len(app.get("plotly_chart")) == 4  # densities, map, cosines, kinds of labels
    assert f"{index.n_features} of {index.n_features} features pass" in html_of(app)


def test_a_filter_in_the_link_filters_table_and_counts(open_page, index, dead):
    app = open_page("atlas", where="count = 0")
    assert not app.exception
    assert dead in shown(app)
    assert len(shown(app)) == index.features(where=Where.parse("count = 0")).total
    assert "--where 'count = 0'" in app.code[0].value


def test_a_filter_that_is_not_understood_is_explained_and_all_features_stay(open_page, index):
    app = open_page("atlas", where="read_text('/etc/passwd') is null")
    assert not app.exception
    assert app.error
    assert len(shown(app)) == index.n_features


def test_the_button_of_a_class_writes_its_condition_into_the_filter(open_page, dead):
    app = open_page("atlas", where="max < 99")
    app.button(key="class dead").click().run()
    assert app.text_input(key="where").value == "max < 99 and count = 0"
    assert dead in shown(app)
    next(button for button in app.button if button.label == "Clear").click().run()
    assert app.text_input(key="where").value == ""


def test_the_least_f1_is_written_into_the_filter_and_read_from_it(open_page):
    app = open_page("atlas", where="max < 99")
    assert app.number_input(key="atlas f1").value is None
    app.number_input(key="atlas f1").set_value(0.6).run()
    assert app.text_input(key="where").value == "max < 99 and f1 >= 0.6"
    assert len(shown(app)) == 1  # of labels of F1 0.91 and 0.5
    app.text_input(key="where").set_value("f1 >= 0.3").run()
    assert app.number_input(key="atlas f1").value == 0.3
    assert len(shown(app)) == 2
    app.number_input(key="atlas f1").set_value(None).run()
    assert app.text_input(key="where").value == ""


def test_labels_stand_in_the_chart_by_their_kind(open_page, index):
    bars = json.loads(open_page("atlas").get("plotly_chart")[3].proto.spec)["data"]
    assert bars[0]["y"] == ["unsaid", "no label"]  # the fixture's labels say no kind
    assert bars[0]["x"] == [2, index.n_features - 2]
    conditions = [one[0] for one in bars[0]["customdata"]]
    assert conditions == ["kind = 'unsaid'", "kind is null"]
    assert len(shown(open_page("atlas", where=conditions[0]))) == 2


def test_a_filter_is_saved_beside_the_run_taken_and_forgotten(open_page, run_dir):
    app = open_page("atlas", where="count > 0")
    app.text_input[1].set_value("alive")
    next(button for button in app.button if button.label == "Save this filter").click()
    app.run()
    assert json.loads((run_dir / "filters.json").read_text()) == {"alive": "count > 0"}
    app.text_input(key="where").set_value("")
    app.run()
    app.button(key="take alive").click().run()
    assert app.text_input(key="where").value == "count > 0"
    app.button(key="drop alive").click().run()
    assert read_filters(run_dir) == {}


def test_a_filter_nothing_passes_says_so(open_page):
    app = open_page("atlas", where="density > 5")
    assert not app.exception
    assert "No feature passes" in html_of(app)


@pytest.mark.parametrize(
    ("brush", "exponents", "condition"),
    [
        ({"box": [{"x": [-1, -3], "y": [0, 1]}]}, True, "density between 0.001 and 0.1 and max between 1 and 10"),
        ({"box": [{"x": [0.5, 0.25], "y": [0, 1]}]}, False, "density between 0.25 and 0.5 and max between 0 and 1"),
        ({"box": []}, True, None),
        ({}, True, None),
        ({"box": [{"x": [float("nan"), 1], "y": [0, 1]}]}, True, None),
        ({"box": [{"x": ["1; drop", 1], "y": [0, 1]}]}, True, None),
    ],
)
def test_a_box_becomes_a_condition(brush, exponents, condition):
    assert atlas_charts.condition_of(brush, "density", "max", exponents) == condition


def test_clicked_bars_become_one_condition_each_once():
    bars = [{"customdata": ["label = 'it''s'", 3]}, {"customdata": ["label = 'it''s'", 1]}]
    assert atlas_charts.kind_of({"points": bars}) == "label = 'it''s'"
    two = atlas_charts.kind_of({"points": [*bars, {"customdata": ["label = 'b'", 1]}]})
    assert two is not None and Where.parse(two).parts[0].values == ("it's", "b")


def test_points_that_pass_are_drawn_above_the_rest(index):
    figure = atlas_charts.density_by_maximum(index.atlas(Where.parse("feature < 5")))
    outside, passing = figure.data
    assert all(feature < 5 for feature in passing.customdata)
    assert all(feature >= 5 for feature in outside.customdata)
