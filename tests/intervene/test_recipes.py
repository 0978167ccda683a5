"""A recipe comes back as it was, what is wrong with a file is said, and its snippet is a program that runs."""

import json

import pytest

from saelab.errors import InterventionError
from saelab.intervene import Steer, SteerRecipe, SteerRequest, load_recipe, recipe_names, save_recipe

RECIPE = SteerRecipe(
    (("topk", (Steer(5, 2.0, "cap", "last", 3), Steer(6, -1.5))), ("relu-2", (Steer(0, 1.0),))),
    SteerRequest("def f(x):\n\t'\"é", 8, 0.0, 3, True, ("default", "steered", "random")),
)


def test_a_recipe_comes_back_from_its_file(tmp_path):
    path = save_recipe(tmp_path, "quiet-comments", RECIPE)
    assert path == tmp_path / "recipes" / "quiet-comments.json"
    assert load_recipe(tmp_path, "quiet-comments") == RECIPE
    save_recipe(tmp_path, "a.b", RECIPE)
    assert recipe_names(tmp_path) == ["a.b", "quiet-comments"]
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 101, "a\n"])
def test_a_name_that_is_no_name_is_refused_when_saving_and_loading(tmp_path, name):
    for act in (lambda: save_recipe(tmp_path, name, RECIPE), lambda: load_recipe(tmp_path, name)):
        with pytest.raises(InterventionError, match="is no name"):
            act()
    assert not list(tmp_path.iterdir())


def test_a_recipe_that_is_not_there_is_named_with_those_that_are(tmp_path):
    save_recipe(tmp_path, "mine", RECIPE)
    with pytest.raises(InterventionError, match="no recipe 'yours' in .*; there: mine"):
        load_recipe(tmp_path, "yours")


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.update(format=2),
        lambda values: values.update(saes={}),
        lambda values: values.update(saes={"../../x": [{"feature": 1, "strength": 1.0}]}),
        lambda values: values["saes"]["topk"][0].update(strength="2"),
        lambda values: values["saes"]["topk"][0].update(strength=float("nan")),
        lambda values: values["saes"]["topk"][0].update(feature=True),
        lambda values: values["saes"]["topk"][0].update(mode="explode"),
        lambda values: values["saes"]["topk"][0].update(surprise=1),
        lambda values: values["request"].update(steps=0),
        lambda values: values["request"].update(rows=["default", "<b>"]),
        lambda values: values.pop("request"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_its_path(tmp_path, change):
    values = RECIPE.to_json()
    change(values)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "x.json").write_text(json.dumps(values))
    with pytest.raises(InterventionError, match=r"recipes/x.json is no steering recipe"):
        load_recipe(tmp_path, "x")


def test_what_is_not_json_is_refused(tmp_path):
    (tmp_path / "recipes").mkdir()
    for text in ("{", "[]", "3"):
        (tmp_path / "recipes" / "x.json").write_text(text)
        with pytest.raises(InterventionError, match="x.json is (not JSON|no steering recipe)"):
            load_recipe(tmp_path, "x")
