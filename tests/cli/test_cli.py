import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from saelab.cli import VERBS, cli, main
from saelab.cli.output import progress, shown, write_json

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


@pytest.mark.parametrize(("done", "seconds", "rate"), [(5, 20.0, "0.25 SAEs/s"), (30_000, 20.0, "1,500 SAEs/s")])
def test_work_that_is_slow_says_how_slow(monkeypatch, capsys, done, seconds, rate):
    now = [0.0]
    monkeypatch.setattr("saelab.cli.output.time", SimpleNamespace(monotonic=lambda: now[0]))
    with progress() as bar:
        bar.start("work", 40_000, "SAEs")
        now[0] = seconds
        bar.advance(done)
    assert rate in capsys.readouterr().out


def test_json_replaces_a_file_as_a_whole_and_goes_down_a_pipe(tmp_path):
    path = tmp_path / "new" / "a.json"
    write_json(path, {"n": 1})
    kept = path.open(encoding="utf-8")  # who reads the old one goes on reading it
    write_json(path, {"n": 2})
    assert (json.load(kept), json.loads(path.read_text())) == ({"n": 1}, {"n": 2})
    kept.close()
    assert [one.name for one in path.parent.iterdir()] == ["a.json"]
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE)
    write_json(pipe, {"n": 3})
    assert json.loads(reader.communicate()[0]) == {"n": 3}
