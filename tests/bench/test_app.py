"""The app's benchmark: its generated index is a real one, and every figure is there."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from saelab.bench.app import TARGETS, bench_app
from saelab.bench.generated import Firing, Shape
from saelab.cli.bench import command

SMALL = Shape(features=300, activations=20_000, k=8, d_in=8, vocabulary=64)


def test_what_fires_is_the_same_on_every_call_and_about_as_much_as_asked_for():
    firing = Firing(SMALL)
    codes = firing.codes(0, firing.rows)
    fires = int((codes.mask & (codes.val > 0)).sum())
    assert fires == pytest.approx(SMALL.activations, rel=0.02)
    again = Firing(SMALL).codes(0, firing.rows)
    assert codes.idx.equal(again.idx) and codes.val.equal(again.val)


def test_a_few_features_fire_often_and_the_last_ranks_never():
    firing = Firing(SMALL)
    codes = firing.codes(0, firing.rows)
    counts = np.bincount(codes.idx[codes.val > 0].numpy(), minlength=SMALL.features)
    assert (counts == 0).sum() >= SMALL.features // 50
    strongest = np.sort(counts)[::-1]
    assert strongest[0] > 10 * np.median(counts)


def test_the_index_that_is_timed_holds_what_was_generated(tmp_path):
    found = bench_app(SMALL, out=tmp_path, times=2)
    firing = Firing(SMALL)
    codes = firing.codes(0, firing.rows)  # the build's only chunk
    assert found.activations == int((codes.val > 0).sum())
    assert found.features == 300 and found.render_ms is None
    assert all(value > 0 for value in (found.query_p95_ms, found.open_ms, found.bytes_per_feature))
    pages = {one.name.split(":")[0] for one in found.queries}
    assert pages == {"feature", "table", "atlas", "search", "overview", "steer"}
    again = bench_app(SMALL, out=tmp_path, times=2)
    assert again.built == found.built  # it was there already


@pytest.mark.slow
def test_the_command_draws_pages_and_writes_every_figure(tmp_path):
    asked = ["app", "--features", "300", "--activations", "20000", "--d-in", "8", "--times", "2"]
    answer = CliRunner().invoke(command, [*asked, "--json", str(tmp_path / "out.json")], catch_exceptions=False)
    assert answer.exit_code == 0
    told = json.loads((tmp_path / "out.json").read_text())
    assert set(TARGETS) | {"build_seconds", "build_peak_bytes"} <= set(told)
    assert told["render_ms"] > 0
