import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from saelab.cli import VERBS, cli, main
from saelab.cli.output import shown

HELP = "from saelab.cli import cli; cli([{} '--help'], standalone_mode=False)"


def test_help_lists_every_verb_without_importing_torch():
    code = f"{HELP.format('')}; import sys; assert 'torch' not in sys.modules"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for verb in VERBS:
        assert f"\n  {verb} " in answer.stdout


def test_help_of_a_verb_does_not_import_torch():
    for verb in ("harvest", "train", "steer", "eval"):
        code = f"{HELP.format(repr(verb) + ',')}; import sys; assert 'torch' not in sys.modules"
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


def test_help_costs_little_more_than_python_itself():
    def best(code: str) -> float:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
            times.append(time.perf_counter() - start)
        return min(times)

    # a ratio in one run: importing click alone against answering --help
    assert best(HELP.format("")) < 3 * best("import click")


def test_a_mistake_is_one_message_and_exit_code_2(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["saelab", "harvest", str(tmp_path / "gone.yaml")])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    words = capsys.readouterr().err
    assert words.startswith("Error: ") and "there is no such file" in words and "Traceback" not in words


def test_a_verb_that_does_not_exist_is_refused():
    answer = CliRunner().invoke(cli, ["fly"])
    assert answer.exit_code == 2 and "No such command 'fly'" in answer.output


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (1234567, "1,234,567"), (0.12345, "0.1235"), (1234.5, "1,234.5"), ("[a]", "\\[a]")]
)
def test_values_are_shown_as_people_read_them(value, text):
    assert shown(value) == text
