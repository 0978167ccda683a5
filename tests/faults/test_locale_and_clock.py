"""Terminals without UTF-8, time zones, clocks that are wrong: the same bits, and no traceback."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from verbs import commands, fingerprint

from saelab.cli import main

WORDS = ["if", "x", "=", "naïve", "日本", "\N{RIGHT-TO-LEFT OVERRIDE}f()", "\N{ZERO WIDTH SPACE}"]
SCRIPT = """
import sys, time
if sys.argv.pop(1) == "wrong clock":
    time.time = lambda: 1.0  # in 1970, and it stands still
import torch
from saelab.cli import main
torch.set_num_threads(1)
for arguments in eval(sys.stdin.read()):
    sys.argv = ["saelab", *arguments]
    try:
        main()
    except SystemExit as end:
        assert not end.code, arguments
"""
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("texts"), random.Random(0)
    for i in range(60):
        words = " ".join(rng.choice(WORDS) for _ in range(200))
        (folder / f"{i}.txt").write_text(words, encoding="utf-8")
    return folder


def run(verbs: list[list[str]], clock: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, clock],
        input=repr(verbs),
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_neither_locale_nor_clock_changes_a_bit_or_ends_in_a_traceback(tmp_path, texts, tiny_lm_dir):
    here, usual = tmp_path / "run", tmp_path / "usual"  # both at the same path, which is recorded

    def verbs() -> list[list[str]]:
        made = commands(here, texts, tiny_lm_dir)
        show = ["show", str(here / "sae" / "topk-96-k4"), "0"]
        return [*made.values(), show, ["atlas", *show[1:2]], ["verify", str(here / "sae")]]

    shown = run(verbs(), "right clock", TZ="UTC")
    here.rename(usual)
    told = run(verbs(), "wrong clock", TZ="Pacific/Kiritimati", **ASCII)
    assert fingerprint(here) == fingerprint(usual)
    assert not shown.isascii()
    assert told.isascii() and "\\u" in told


def test_an_argument_that_is_no_text_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["saelab", "search", "runs/demo", "na\udcefve"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "na\\udcefve" in (told := capsys.readouterr().err) and "LC_ALL=C.UTF-8" in told


@pytest.mark.skipif(shutil.which("head") is None, reason="needs head")
def test_a_reader_that_goes_away_is_no_error():
    code = f"{sys.executable} -c 'from saelab.cli import main; main()' --help | head -c 1"
    done = subprocess.run(code, shell=True, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("U", "")
