"""The page of trainings while another process trains: what it shows advances."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from saelab.app.launch import FOLDER

from ..train.train_rows import SITE, make_store
from .test_browser import PATIENCE

TRAIN = "from saelab.cli import main; main()"
FOREVER = 10**9  # rows: it is ended by the test


@pytest.fixture
def training(tmp_path):
    """The folder of a run in which a process of its own trains until the test is over."""
    with under_way(tmp_path) as process:
        yield tmp_path, process


@contextmanager
def under_way(folder):
    """A process that trains in the run `folder` until the block ends, which begins when there is something to see."""
    store = make_store(folder / "store")
    settings = {
        "store": str(store.path), "site": SITE, "name": "under-way", "out": str(folder / "sae"),
        "log_every": 20, "eval_every": 20_000,
        "sae": {"variant": "topk", "d_sae": 32, "k": 2}, "train": {"rows": FOREVER, "batch": 64, "device": "cpu"},
    }  # fmt: skip
    (folder / "train.yaml").write_text(json.dumps(settings))  # which YAML reads as well
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", TRAIN, "train", str(folder / "train.yaml")]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _until_longer(folder, 0, process)
        yield process
    finally:
        process.kill()
        process.wait()


def _until_longer(folder, size, process):
    """Wait until the training has written more than `size` bytes of metrics; how many they are now."""
    file, until = folder / "sae" / "under-way" / "metrics.jsonl", time.monotonic() + PATIENCE / 1000
    while time.monotonic() < until:
        assert process.poll() is None, "the training has ended"
        if file.is_file() and (now := file.stat().st_size) > size:
            return now
        time.sleep(0.05)
    return pytest.fail("the training writes nothing")


def points(app):
    """How many points the first line of the first chart has, and the rows of the last one."""
    x = json.loads(app.get("plotly_chart")[0].proto.spec)["data"][0]["x"]
    return len(x), x[-1]


@pytest.mark.slow
def test_the_page_opened_again_shows_more_of_a_training_that_goes_on(open_page, training, monkeypatch):
    folder, process = training
    app = open_page("overview")
    monkeypatch.setenv(FOLDER, str(folder))
    app = app.switch_page("views/runs.py").run()
    assert not app.exception and not app.error
    before = app.dataframe[0].value
    assert before["name"].tolist() == ["under-way"] and before["state"][0].startswith("training · last line")
    (n, last), size = points(app), (folder / "sae" / "under-way" / "metrics.jsonl").stat().st_size
    _until_longer(folder, size, process)
    app.run()
    after = app.dataframe[0].value
    assert after["rows"][0] > before["rows"][0] and after["progress"][0] > before["progress"][0]
    assert points(app)[0] >= n and points(app)[1] > last
