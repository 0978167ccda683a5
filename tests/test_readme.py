"""README.md is product: its tables are those of the registries, its links lead somewhere, its commands exist."""

import re
from pathlib import Path

from click.testing import CliRunner

from saelab.cli import VERBS, cli
from saelab.cli.tables import TABLES, renewed

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_registries():
    assert renewed(README) == README, "run: python -m saelab.cli.tables README.md"
    assert set(re.findall(r"<!-- table: (\w+) -->", README)) == set(TABLES)


def test_every_picture_and_file_it_links_to_exists():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_every_command_it_shows_exists():
    shown = set(re.findall(r"saelab ([a-z]+) ", "\n".join(re.findall(r"```(?:bash)?\n(.*?)```", README, re.DOTALL))))
    assert shown and shown <= set(VERBS)


def test_every_verb_has_help_with_an_example():
    for verb in VERBS:
        answer = CliRunner().invoke(cli, [verb, "--help"])
        assert answer.exit_code == 0, (verb, answer.output)
        assert f"saelab {verb}" in answer.output.split("Options:")[0].split("\n", 1)[1], verb
