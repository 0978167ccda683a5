"""A recipe that the app has kept, on the command line."""

import pytest
from click.testing import CliRunner

from saelab.cli.steer import command
from saelab.errors import InterventionError
from saelab.intervene import Steer, SteerRecipe, SteerRequest, save_recipe


@pytest.fixture
def checkpoint(tmp_path):
    """The name of a checkpoint beside a recipe; nothing is loaded to print it."""
    steers = (Steer(12, 2.0, "add", "all", 1),)
    request = SteerRequest("def", 8, 0.0, 0, False, ("default", "steered"))
    save_recipe(tmp_path, "mine", SteerRecipe((("topk", steers),), request))
    return str(tmp_path / "sae" / "topk")


def test_a_recipe_is_printed_as_a_program_of_the_same_generation(checkpoint):
    said = CliRunner().invoke(command, [checkpoint, "--recipe", "mine", "--python"])
    assert said.exit_code == 0
    compile(said.output, "recipe", "exec")
    assert "Steer(feature=12, strength=2.0" in said.output and "prompt='def'" in said.output


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["--recipe", "mine", "--prompt", "x"], "give no --feature and no --prompt"),
        (["--feature", "1=2"], "give --feature and --prompt, or --recipe"),
        ([], "give --feature and --prompt, or --recipe"),
    ],
)
def test_half_a_question_is_refused(checkpoint, asked, told):
    said = CliRunner().invoke(command, [checkpoint, *asked])
    assert said.exit_code == 2 and told in said.output


def test_a_recipe_that_is_not_there_names_those_that_are(checkpoint):
    with pytest.raises(InterventionError, match="there: mine"):
        CliRunner().invoke(command, [checkpoint, "--recipe", "other"], catch_exceptions=False)
