"""Exports of features: the same every time, whole or not at all, of a part, by the command; what is refused."""

import json

import pytest
from click.testing import CliRunner
from feature_files import lines, record
from planted_features import CONTEXTS, ROWS, SMALL, Unembedding, planted_sae, planted_store

from saelab.cli import cli
from saelab.errors import FormatError
from saelab.features import Index, build_index
from saelab.interop import FEATURE_FORMATS, export_features, export_saes

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


def test_several_saes_are_several_sources_and_of_one_layer_no_set_of_transcoders(index, tmp_path):
    run, store = tmp_path / "run", planted_store(tmp_path / "store", ROWS, CONTEXTS)
    other = build_index(planted_sae(run / "sae" / "other"), store, run / "index" / "other", Unembedding(), cfg=SMALL)
    export_features([index, other], tmp_path / "out", "neuronpedia")
    assert sorted(path.name for path in (tmp_path / "out" / "tiny").iterdir()) == ["0-other", "0-planted-1"]
    with pytest.raises(FormatError, match=r"one transcoder of each layer; these are of layers \[0, 0\]"):
        export_features([index, other], tmp_path / "set", "circuit_tracer_features")
    with pytest.raises(FormatError, match="two of the checkpoints have the same name"):
        export_features([index, index], tmp_path / "twice", "neuronpedia")
    assert not (tmp_path / "set").exists() and not (tmp_path / "twice").exists()


@pytest.mark.parametrize("format", FEATURE_FORMATS)
def test_an_export_is_the_same_bytes_every_time_and_there_whole_or_not_at_all(format, index, tmp_path, monkeypatch):
    out = tmp_path / "out"
    export_features([index], out, format)
    export_features([index], out, format)  # another export would have been refused
    with pytest.raises(FormatError, match="holds something else"):
        export_features([index], out, format, range(0, 1))
    card = Index.card

    def broken(self, feature, examples=20):
        if feature == 3:
            raise KeyboardInterrupt
        return card(self, feature, examples)

    monkeypatch.setattr(Index, "card", broken)
    with pytest.raises(KeyboardInterrupt):
        export_features([index], tmp_path / "half", format)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("format", FEATURE_FORMATS)
def test_part_of_the_features_is_the_same_as_of_all(format, index, tmp_path):
    export_features([index], tmp_path / "all", format)
    export_features([index], tmp_path / "part", format, range(1, 3))
    if format == "circuit_tracer_features":
        assert [record(tmp_path / "part", 0, n) for n in (1, 2)] == [record(tmp_path / "all", 0, n) for n in (1, 2)]
    elif format == "saedashboard":
        every, part = (json.loads((tmp_path / name / "batch-0.json").read_text()) for name in ("all", "part"))
        assert part["features"] == every["features"][1:3]
    else:
        file = "tiny/0-planted-1/features/batch-0.jsonl.gz"
        assert lines(tmp_path / "part" / file) == lines(tmp_path / "all" / file)[1:3]


def test_the_command_takes_a_checkpoint_and_a_range(checkpoint, tmp_path):
    out = tmp_path / "out"
    asked = ["export", str(checkpoint), "--format", "circuit-tracer-features", "--features", "0-1", "--out", str(out)]
    answer = CliRunner().invoke(cli, asked)
    assert answer.exit_code == 0, answer.output
    assert "planted.1" in answer.output and "0-1" in answer.output
    assert [record(out, 0, n) is None for n in range(4)] == [False, False, True, True]


@pytest.mark.parametrize(
    ("format", "which", "match"),
    [
        ("saedashboard", "2-9", "--features 2-9 is no part of planted.1, which has features 0 to 3"),
        ("saedashboard", "3-1", "is no range of features"),
        ("saedashboard", "a", "is no range of features"),
        ("saelens", "0-1", "--features is for formats of features"),
        ("neuronpaedia", "0-1", "'neuronpaedia' is no format. It writes .*saelens, .*neuronpedia"),
    ],
)
def test_what_cannot_be_written_is_one_message(checkpoint, tmp_path, format, which, match):
    asked = ["export", str(checkpoint), "--format", format, "--features", which, "--out", str(tmp_path / "out")]
    with pytest.raises(FormatError, match=match):
        CliRunner().invoke(cli, asked, catch_exceptions=False)
    assert not list(tmp_path.iterdir())


def test_weights_and_features_are_not_taken_for_each_other(checkpoint, index, tmp_path):
    with pytest.raises(FormatError, match="neuronpedia holds features, not weights"):
        export_saes([checkpoint], tmp_path / "out", "neuronpedia")
    with pytest.raises(FormatError, match="saelens holds weights, not features"):
        export_features([index], tmp_path / "out", "saelens")


def test_a_folder_of_dashboards_is_of_one_sae(index, tmp_path):
    with pytest.raises(FormatError, match="holds one SAE, and 2 were named; several go into neuronpedia, circuit"):
        export_features([index, index], tmp_path / "out", "saedashboard")


def test_an_index_without_token_strings_is_refused(checkpoint, tmp_path):
    store = planted_store(tmp_path / "store", ROWS, CONTEXTS)
    index = build_index(planted_sae(tmp_path / "sae" / "bare"), store, tmp_path / "index" / "bare", cfg=SMALL)
    with pytest.raises(FormatError, match="knows tokens by number only"):
        export_features([index], tmp_path / "out", "neuronpedia")


def test_an_index_that_is_built_anew_meanwhile_stops_the_export(index, tmp_path, monkeypatch):
    generations = iter([1, 2])
    monkeypatch.setattr(Index, "generation", property(lambda self: next(generations)))
    with pytest.raises(FormatError, match="built anew meanwhile"):
        export_features([index], tmp_path / "out", "saedashboard")
