"""Every page, opened as a link would open it."""

import pytest

from saelab.app.widgets import state

PAGES = ("overview", "feature", "try_text", "steer", "ablate")


def html(app):
    """All HTML of a page, but for the style sheet."""
    return "\n".join(each.proto.body for each in app.get("html") if "<style>" not in each.proto.body)


def notes(app):
    return " ".join(each.value for each in app.warning)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_without_a_mistake(open_page, name):
    app = open_page(name)
    assert not app.exception
    assert not app.error
    assert not app.warning


def test_the_overview_shows_the_figures_and_every_feature(open_page, index):
    app = open_page("overview")
    assert app.header[0].value == index.path.name
    shown = {metric.label: metric.value for metric in app.metric}
    assert shown["FVU"] == "0.123"
    assert shown["CE recovered"] == "–"
    assert shown["tokens indexed"] == f"{index.n_tokens:,}"
    assert len(app.dataframe[0].value) == index.n_features
    assert len(app.get("plotly_chart")) == 1


def test_the_table_is_sorted_and_filtered_by_the_index(open_page, dead):
    app = open_page("overview")
    app.selectbox(key="order").set_value("max")
    app.run()
    assert app.dataframe[0].value["max"].is_monotonic_decreasing
    app.button_group(key="fires").set_value("dead")
    app.run()
    assert dead in app.dataframe[0].value["feature"].tolist()
    assert set(app.dataframe[0].value["count"]) == {0}


def test_the_table_keeps_features_whose_label_is_as_good_as_was_asked_for(open_page, index):
    app = open_page("overview")
    app.number_input(key="f1").set_value(0.6).run()
    assert app.dataframe[0].value["f1"].tolist() == [0.91]
    app.number_input(key="f1").set_value(None).run()
    assert len(app.dataframe[0].value) == index.n_features


def test_a_filter_that_nothing_passes_says_so(open_page):
    app = open_page("overview")
    app.text_input(key="label").set_value("no such label")
    app.run()
    assert not app.dataframe
    assert any("No feature matches" in each.value for each in app.markdown)


def test_the_link_names_the_feature_that_is_shown(open_page, busiest):
    app = open_page("feature", feature=str(busiest))
    assert app.header[0].value == f"Feature {busiest}"
    assert app.query_params["feature"] == str(busiest)


def test_a_link_to_a_feature_that_is_not_there_shows_another_and_says_so(open_page, index):
    app = open_page("feature", feature="9999")
    assert not app.exception
    assert f"features 0 to {index.n_features - 1}" in notes(app)
    assert app.header[0].value.startswith("Feature ")


def test_the_feature_page_goes_to_the_next_and_to_the_one_typed(open_page):
    app = open_page("feature", feature="3")
    next(button for button in app.button if button.label == "Next").click()
    app.run()
    assert app.header[0].value == "Feature 4"
    app.number_input[0].set_value(2)
    app.run()
    assert app.header[0].value == "Feature 2"
    assert app.query_params["feature"] == "2"


def test_the_feature_page_shows_its_examples_with_the_value_on_each_token(open_page, index, busiest):
    app = open_page("feature", feature=str(busiest))
    strongest = index.card(busiest).top[0].activation
    assert f'data-v="{strongest:#.4g}"' in html(app)
    assert html(app).count('class="sl-ex"') == len(index.card(busiest).top)


def test_a_dead_feature_says_on_how_many_tokens_it_never_fired(open_page, index, dead):
    app = open_page("feature", feature=str(dead))
    assert not app.exception
    assert any(f"never fired on {index.n_tokens:,} tokens" in each.value for each in app.caption)


def test_nothing_hostile_becomes_markup(open_page, busiest):
    app = open_page("feature", feature=str(busiest))
    assert "<script" not in html(app)
    assert "&lt;i&gt;" in html(app)  # the documents' names
    assert "\u202e" not in html(app)
    badges = " ".join(each.value for each in app.markdown)
    assert "<script>" not in badges
    assert r"\:material/bolt\:" in badges


def test_a_text_in_the_link_is_run_and_ranked(open_page):
    app = open_page("try_text", text="def area(w, h):")
    assert not app.exception
    assert len(app.dataframe[0].value) > 0
    assert any("features fire on 15 tokens" in each.value for each in app.caption)
    assert html(app).count("<span") >= 15


def test_the_text_is_shaded_by_the_feature_the_link_names(open_page, busiest):
    app = open_page("try_text", text="def area(w, h):", feature=str(busiest))
    assert any(each.value.startswith(f"Feature {busiest}") for each in app.subheader)


def test_an_empty_text_is_refused_in_words(open_page):
    app = open_page("try_text")
    app.text_area[0].set_value("")
    next(button for button in app.button if button.label == "Run").click()
    app.run()
    assert not app.exception
    assert not app.dataframe


def test_steering_writes_both_texts_and_the_link_that_repeats_it(open_page, busiest):
    app = open_page("steer", steer=f"{busiest}:2", text="def a", tokens="4", seed="3", temperature="0")
    generate = next(button for button in app.button if button.label == "Generate")
    generate.click()
    app.run()
    assert not app.exception
    assert not app.error
    assert any("4 tokens in" in each.value and "seed 3" in each.value for each in app.caption)
    assert html(app).count('data-v="p = ') == 16  # default, steered, and the two controls
    assert app.query_params["steer"] == f"{busiest}:2"
    assert app.query_params["seed"] == "3"


def test_a_dose_curve_has_its_controls_beside_it(open_page, busiest):
    page = open_page("steer", steer=f"{busiest}:1", tokens="3", text="def f(x):")
    next(button for button in page.button if button.label == "Dose curve").click().run()
    assert not page.exception
    assert any("Dose curve of feature" in one.value for one in page.subheader)
    equal, written = page.dataframe[0].value, page.dataframe[1].value
    assert set(equal["way"]) == {"random direction", "another feature"}
    assert len(written) == 27 and set(written["way"]) == {"the feature", "random direction", "another feature"}


def test_a_broken_recipe_in_the_link_becomes_defaults_and_notes(open_page):
    app = open_page("steer", steer="99999:2", mode="explode", seed="x")
    assert not app.exception
    assert "99999:2" in notes(app).replace("\\", "")
    assert "explode" in notes(app)


def test_steering_by_a_dead_feature_is_refused_in_words(open_page, dead):
    app = open_page("steer", steer=f"{dead}:2", text="a", tokens="2")
    next(button for button in app.button if button.label == "Generate").click()
    app.run()
    assert not app.exception
    assert "never fired" in app.error[0].value


def test_an_ablation_in_the_link_is_measured_at_every_token(open_page, busiest):
    app = open_page("ablate", feature=str(busiest), text="import os")
    assert not app.exception
    assert not app.error
    table = app.dataframe[0].value
    assert table["token"].tolist()[1:] == list("import␣os")
    assert len(app.get("plotly_chart")) == 1


def test_a_mean_ablation_differs_from_a_zero_ablation(open_page, busiest):
    zero, mean = (open_page("ablate", feature=str(busiest), text="import os", mode=mode) for mode in ("zero", "mean"))
    assert not mean.exception
    assert mean.dataframe[0].value["full"].tolist() != zero.dataframe[0].value["full"].tolist()


def test_a_text_longer_than_the_model_reads_is_refused_in_words(open_page, busiest):
    app = open_page("ablate", feature=str(busiest), text="a" * 100)
    assert not app.exception
    assert "shorten the text" in app.error[0].value


def test_a_page_that_waits_too_long_says_that_another_computes(open_page, monkeypatch):
    monkeypatch.setattr(state, "PATIENCE", 0.01)
    with state.turns.mine(patience=1.0):
        app = open_page("try_text", text="abc")
    assert "another page has been computing" in app.error[0].value


def test_of_several_saes_the_link_picks_one_and_the_side_bar_another(open_page, run_dir, tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).symlink_to(run_dir)
    monkeypatch.setenv(state.FOLDER, str(tmp_path))
    app = open_page("overview", run="b")
    assert not app.exception
    assert app.sidebar.selectbox[0].value.run == "b"
    app.sidebar.selectbox[0].select_index(0)
    app.run()
    assert app.query_params["run"] == "a"
    assert app.sidebar.selectbox[0].value.run == "a"


def test_a_link_to_an_sae_that_is_not_there_shows_another_and_says_so(open_page):
    app = open_page("overview", sae="gone")
    assert not app.exception
    assert "gone" in notes(app)


def test_without_a_run_folder_the_app_says_how_it_is_started(open_page, monkeypatch):
    open_page("overview")
    monkeypatch.delenv(state.FOLDER)
    app = open_page("overview")
    assert not app.exception
    assert "saelab app DIR" in app.error[0].value
