"""The page of trainings: curves while they run, and two checkpoints side by side."""

import json
import os
import shutil
import time

import pytest

from saelab.app.catalogue import require_something
from saelab.app.widgets import curves as drawn
from saelab.errors import SaelabError
from saelab.train.history import Curve

LINES = [{"step": s, "rows": 10 * s, "loss": 1.0 / s, "heldout": {"fvu": 0.5 / s}} for s in (1, 2, 4)]
SETTINGS = {"sae": {"variant": "topk"}, "train": {"rows": 100, "batch": 10, "dead_after": 1000}}


@pytest.fixture
def trained(tmp_path, run_dir, monkeypatch):
    """A run with a training under way and one checkpoint that it kept, and no index."""
    for name in ("a", "a.step-2"):
        shutil.copytree(next((run_dir / "sae").iterdir()), tmp_path / "sae" / name)
    folder = tmp_path / "sae" / "a"
    _write(folder, {"finished": False, "settings": SETTINGS})
    _write(tmp_path / "sae" / "a.step-2", {"finished": True, "settings": SETTINGS, "rows": 20, "step": 2,
                                           "heldout": {"fvu": 0.25, "l0": 3.0}})  # fmt: skip
    whole = "".join(json.dumps(line) + "\n" for line in LINES)
    (folder / "metrics.jsonl").write_text(whole + '{"step": 5, "ro')
    monkeypatch.setenv("SAELAB_RUN", str(tmp_path))
    return tmp_path


def _write(folder, record):
    (folder / "training.json").write_text(json.dumps({"format": 1, **record}))


def open_runs(open_page, folder, monkeypatch):
    app = open_page("overview")
    monkeypatch.setenv("SAELAB_RUN", str(folder))
    return app.switch_page("views/runs.py").run()


def test_a_training_under_way_is_shown_with_its_curves(open_page, trained, monkeypatch):
    app = open_runs(open_page, trained, monkeypatch)
    assert not app.exception and not app.error
    table = app.dataframe[0].value
    assert table["name"].tolist() == ["a"]
    assert table["state"][0].startswith("training · last line")
    assert table["progress"][0] == pytest.approx(0.4)
    assert table["checkpoints" if "checkpoints" in table else "kept"][0] == 2
    assert len(app.get("plotly_chart")) >= 3  # loss, FVU, cosine of decoder rows


def test_a_training_that_is_silent_is_said_to_have_stopped(open_page, trained, monkeypatch):
    before = time.time() - 3600
    os.utime(trained / "sae" / "a" / "metrics.jsonl", (before, before))
    app = open_runs(open_page, trained, monkeypatch)
    assert app.dataframe[0].value["state"][0] == "stopped"


def test_two_checkpoints_of_a_training_are_compared_number_by_number(open_page, trained, monkeypatch):
    app = open_runs(open_page, trained, monkeypatch)
    shown = {metric.label: metric.value for metric in app.metric}
    assert shown["median cosine"] == "1"  # the same weights
    assert shown["born"] == shown["died"] == "0"
    assert shown["mean overlap of examples"] == "–"  # no index
    assert any("number by number" in each.value for each in app.caption)


def test_a_folder_without_trainings_says_what_would_be_here(open_page, run_dir, tmp_path, monkeypatch):
    app = open_runs(open_page, tmp_path, monkeypatch)
    assert not app.exception
    assert any("Nothing was trained here" in each.value for each in app.markdown)


def test_the_app_opens_on_a_training_that_has_no_index_yet(trained, tmp_path):
    require_something(trained)
    with pytest.raises(SaelabError, match="holds no feature index"):
        require_something(tmp_path / "sae")


def test_a_long_curve_is_drawn_with_few_points_its_ends_among_them():
    curve = Curve(tuple(range(10_000)), tuple(float(i) for i in range(10_000)))
    line = drawn.line_chart({"<b>a</b>": curve}, log_y=True).data[0]
    assert len(line.x) == drawn.MOST_POINTS
    assert (line.x[0], line.x[-1]) == (0, 9_999)
    assert line.name == "&lt;b&gt;a&lt;/b&gt;"
