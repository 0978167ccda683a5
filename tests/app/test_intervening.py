"""The pages that change what the model computes: attribute, ablate, steer, and the recipes kept beside the run."""

import subprocess
import sys
import threading
import time

import pytest
import streamlit as st

from saelab.app.turns import Turns
from saelab.app.widgets import state
from saelab.errors import SaelabError
from saelab.intervene import Steer, SteerRecipe, SteerRequest, load_recipe, save_recipe

from .test_pages import html, notes


def press(app, label):
    next(button for button in app.button if button.label == label).click()
    return app.run()


def test_an_attribution_shows_both_numbers_and_their_correlations(open_page):
    app = open_page("attribute", text="import os, sys", verify="5")
    assert not app.exception and not app.error
    table = app.dataframe[0].value
    assert table["attribution"].abs().is_monotonic_decreasing
    assert table["ablated"].notna().sum() == 5
    shown = {metric.label: metric.value for metric in app.metric}
    assert shown["verified by ablation"] == "5"
    assert -1 <= float(shown["Pearson"]) <= 1 and -1 <= float(shown["Spearman"]) <= 1
    assert any("Error term" in each.value for each in app.caption)
    assert len(app.get("plotly_chart")) == 1


def test_the_error_term_is_dropped_by_a_switch_and_the_link_says_so(open_page):
    app = open_page("attribute", text="import os, sys", verify="3")
    app.toggle[0].set_value(False)
    press(app, "Attribute")
    assert app.query_params["error"] == "dropped"
    assert any("error term is dropped" in each.value for each in app.caption)


def test_a_loss_a_difference_and_a_wrong_token(open_page):
    app = open_page("attribute", text="import os", target="loss", verify="3")
    assert any(metric.label == "mean loss of the text" for metric in app.metric)
    app = open_page("attribute", text="import os", target="difference", token="a", against="b", verify="3")
    assert not app.error and any("logit of 'a' − logit of 'b'" in m.label.replace("\\", "") for m in app.metric)
    app = open_page("attribute", text="import os", token="abc")
    assert "is 3 tokens of" in app.error[0].value


def test_a_broken_link_to_an_attribution_becomes_defaults_and_a_note(open_page):
    app = open_page("attribute", target="explode", position="x", verify="-3")
    assert not app.exception
    assert "explode" in notes(app)


@pytest.mark.parametrize("mode", ["firing-mean", "resample"])
def test_every_ablation_is_measured_from_its_link(open_page, busiest, mode):
    app = open_page(
        "ablate",
        feature=str(busiest),
        text="import os",
        other="def a",
        mode=mode,
        error="dropped",
        position="-1",
        token="a",
    )
    assert not app.exception and not app.error
    assert any(metric.label == "KL of the lost error" for metric in app.metric)
    table = app.dataframe[0].value
    assert table["kl"].iloc[:-1].abs().max() < 1e-5 < table["kl"].iloc[-1]
    assert table["full"].notna().all()  # of the token that was named, there is no next one missing


def test_a_recipe_is_kept_linked_and_opened_again(open_page, busiest, run_dir):
    app = open_page("steer", steer=f"{busiest}:2.5", text="def a", tokens="3", seed="9", mode="clamp", positions="last",
                    last="2", controls="no")  # fmt: skip
    press(app, "Generate")
    app.text_input(key="recipe name").set_value("mine")
    press(app, "Save recipe")
    kept = load_recipe(run_dir, "mine")
    assert kept.saes == (("topk-24-k3", (Steer(busiest, 2.5, "clamp", "last", 2),)),)
    assert kept.request == SteerRequest("def a", 3, 0.7, 9)
    assert app.query_params["steer"] == "mine"
    again = open_page("steer", steer="mine")
    assert not again.warning and again.slider[0].value == 2.5 and again.text_area[0].value == "def a"
    press(again, "Generate")
    assert any("3 tokens in" in each.value and "seed 9" in each.value for each in again.caption)


def test_a_dose_curve_stands_above_the_text_until_the_next_text(open_page, busiest):
    def shown():
        curve = [each.value for each in app.subheader if "Dose curve" in each.value]
        return curve, [each.value for each in app.caption if "2 tokens in" in each.value]

    app = open_page("steer", steer=f"{busiest}:1", text="def", tokens="2")
    press(app, "Generate")
    assert [len(each) for each in shown()] == [0, 1]
    press(app, "Dose curve")
    assert [len(each) for each in shown()] == [1, 1] and not app.exception
    app.run()
    assert [len(each) for each in shown()] == [1, 1]
    press(app, "Generate")
    assert [len(each) for each in shown()] == [0, 1]


def test_a_recipe_that_is_not_there_or_of_another_sae_becomes_a_note(open_page, run_dir):
    assert "there is no recipe" in notes(open_page("steer", steer="gone"))
    save_recipe(run_dir, "foreign", SteerRecipe((("other-sae", (Steer(1, 1.0),)),), SteerRequest("a")))
    app = open_page("steer", steer="foreign")
    assert not app.exception and "No such feature" in notes(app)
    app = open_page("steer", steer="mine")
    press(app, "Generate")
    app.text_input(key="recipe name").set_value("../x")
    press(app, "Save recipe")
    assert "is no name" in app.error[0].value


def test_the_snippet_of_a_recipe_is_a_program_that_writes_the_same(busiest, run_dir):
    recipe = SteerRecipe((("topk-24-k3", (Steer(busiest, 2.0, "cap"),)),), SteerRequest("def a", 3, 0.0))
    done = subprocess.run(
        [sys.executable, "-c", recipe.snippet(run_dir)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("def a") == 2 and "--- steered" in done.stdout


def test_stop_ends_at_the_next_token_keeps_the_text_and_gives_the_turn_up(open_page, busiest, monkeypatch):
    app, looks = open_page("steer", steer=f"{busiest}:2", text="def a", tokens="20"), []

    def stopped_at_the_third():
        looks.append(len(state.turns))
        if len(looks) == 3:
            st.stop()

    monkeypatch.setattr(state, "stop_if_asked", stopped_at_the_third)
    press(app, "Generate")
    assert looks == [1, 1, 1] and len(state.turns) == 0
    app.run()
    assert any("2 tokens in" in each.value and "stopped" in each.value for each in app.caption)


def test_the_queue_is_first_come_first_served_and_tells_each_its_place():
    turns, order, told = Turns(), [], {}

    def work(name):
        with turns.mine(30.0, lambda before: told.setdefault(name, before)):
            order.append(name)

    with turns.mine(30.0):
        threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
        for place, thread in enumerate(threads, start=2):
            thread.start()
            until = time.monotonic() + 10
            while len(turns) < place and time.monotonic() < until:
                time.sleep(0.01)
        while len(told) < 3 and time.monotonic() < until:
            time.sleep(0.01)
    for thread in threads:
        thread.join(timeout=10)
    assert order == ["a", "b", "c"] and told == {"a": 1, "b": 2, "c": 3} and len(turns) == 0


def test_who_gives_up_waiting_leaves_the_queue():
    turns = Turns()

    def stopped(before):
        raise KeyboardInterrupt

    with turns.mine(30.0):
        with pytest.raises(KeyboardInterrupt), turns.mine(30.0, stopped):
            pass
        with pytest.raises(SaelabError, match="try again"), turns.mine(0.0):
            pass
        assert len(turns) == 1


def test_two_sessions_at_once_write_what_each_writes_alone(open_page, busiest):
    pages = [open_page("steer", steer=f"{busiest}:{strength}", text="def a", tokens="12", seed="1", temperature="0")
             for strength in (9, -9)]  # fmt: skip
    alone = [html(press(app, "Generate")) for app in pages]
    threads = [threading.Thread(target=press, args=(app, "Generate")) for app in pages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert [html(app) for app in pages] == alone and alone[0] != alone[1]
    assert len(state.turns) == 0
