"""What an index knows of features, in three other libraries' layouts: the planted world, worked out by hand.

Feature 0 is 1 4 2 . | 4 4 . | 3 . 1 on ten tokens in three contexts; the index keeps its one strongest context, and
samples all three.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from feature_files import lines, record
from peer_columns import DASHBOARD_ACCEPTS, DASHBOARD_NEEDS, NEURONPEDIA
from planted_features import ROWS, VOCABULARY

from saelab.interop import export_features
from saelab.interop.feature_data import bars, percentiles

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")
STRONGEST = {"tokens": ["a", "b", "c"], "values": [1.0, 4.0, 2.0]}  # row 1 and its neighbours
SECOND = {"tokens": VOCABULARY[4:6], "values": [4.0, 4.0]}
THIRD = {"tokens": VOCABULARY[7:9], "values": [3.0, 0.0]}


def as_array(values) -> np.ndarray:
    return np.asarray(values, np.float32)


@pytest.fixture(scope="module")
def dashboard(index, tmp_path_factory) -> dict:
    out = tmp_path_factory.mktemp("dashboard") / "out"
    export_features([index], out, "saedashboard")
    assert [path.name for path in out.iterdir()] == ["batch-0.json"]
    return json.loads((out / "batch-0.json").read_text())


def test_a_batch_says_whose_features_it_holds(dashboard):
    head = {name: dashboard[name] for name in ("model_id", "layer", "sae_set", "sae_id_suffix")}
    assert head == {"model_id": "tiny", "layer": 0, "sae_set": "planted-1", "sae_id_suffix": None}
    assert [feature["feature_index"] for feature in dashboard["features"]] == [0, 1, 2, 3]


def test_activations_are_counted_in_fifty_bins_from_the_smallest_to_the_largest(dashboard):
    first = dashboard["features"][0]  # bins are 3 / 50 wide
    assert first["frac_nonzero"] == 0.7
    assert (len(first["freq_hist_data_bar_values"]), sum(first["freq_hist_data_bar_heights"])) == (50, 7)
    found = zip(first["freq_hist_data_bar_values"], first["freq_hist_data_bar_heights"], strict=True)
    assert [bar for bar in found if bar[1]] == [(1.03, 2), (1.99, 1), (3.01, 1), (3.97, 3)]


def test_one_value_is_one_bar_and_no_value_none():
    ones = ROWS[6][2:]  # feature 2 fires once
    assert bars(as_array(ones)) == ([8.0], [1])
    assert bars(as_array([])) == ([], []) == (percentiles(as_array([])), [])


def test_an_example_stands_in_the_interval_of_its_peak_with_that_intervals_share_of_all_tokens(dashboard):
    first, second, third = dashboard["features"][0]["activations"]
    assert first == STRONGEST | {"qualifying_token_index": 1, "bin_min": -1, "bin_max": 4, "bin_contains": -1}
    assert second == SECOND | {"qualifying_token_index": 0, "bin_min": 3.2, "bin_max": 4, "bin_contains": 0.3}
    assert third == THIRD | {"qualifying_token_index": 0, "bin_min": 2.4, "bin_max": 3.2, "bin_contains": 0.1}


def test_logits_are_the_indexs(dashboard):
    first = dashboard["features"][0]  # gain 2, and 12 above the mean of 1 for token 5 of twelve
    assert (first["pos_str"][0], first["pos_values"][0]) == (VOCABULARY[5], 22.0)
    assert first["neg_values"][0] == -2.0 and len(first["neg_str"]) == len(VOCABULARY)


def test_a_dead_feature_is_there_and_empty(dashboard):
    dead = dashboard["features"][3]
    assert (dead["frac_nonzero"], dead["freq_hist_data_bar_heights"], dead["activations"]) == (0.0, [], [])


def test_saedashboards_reader_and_its_converter_find_every_field_they_ask_for(dashboard):
    for feature in dashboard["features"]:
        assert DASHBOARD_NEEDS["feature"] <= set(feature) <= DASHBOARD_ACCEPTS["feature"]
        for activation in feature["activations"]:
            assert DASHBOARD_NEEDS["activation"] <= set(activation) <= DASHBOARD_ACCEPTS["activation"]
    assert set(dashboard) == DASHBOARD_NEEDS["batch"] == DASHBOARD_ACCEPTS["batch"]


@pytest.fixture(scope="module")
def source(index, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("neuronpedia") / "out"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("saelab.interop.feature_data.PAGE", 3)
        export_features([index], out, "neuronpedia")
    return out / "tiny" / "0-planted-1"


def test_a_source_is_laid_out_as_neuronpedia_imports_it(source):
    found = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
    assert found == [
        "activations/batch-0.jsonl.gz",
        "explanations/batch-0.jsonl.gz",
        "features/batch-0.jsonl.gz",
        "features/batch-1.jsonl.gz",  # the fourth feature, which has neither examples nor label
        "model.jsonl",
        "release.jsonl",
        "source.jsonl",
        "sourceset.jsonl",
    ]


@pytest.mark.parametrize("table", NEURONPEDIA)
def test_every_row_has_the_columns_that_must_be_there_and_no_unknown_one(source, table):
    files = [source / f"{table}.jsonl"] if (source / f"{table}.jsonl").is_file() else sorted((source / table).iterdir())
    needed, known = NEURONPEDIA[table]
    rows = [row for file in files for row in lines(file)]
    assert rows
    for row in rows:
        assert needed <= set(row) <= known
        assert list(row) == list(rows[0])  # the importer takes the columns of the first row


def test_rows_refer_to_each_other(source):
    features = [row for n in (0, 1) for row in lines(source / "features" / f"batch-{n}.jsonl.gz")]
    examples = lines(source / "activations" / "batch-0.jsonl.gz")
    (model,), (of,), (group,) = (lines(source / f"{name}.jsonl") for name in ("model", "source", "sourceset"))
    (release,) = lines(source / "release.jsonl")
    assert (of["modelId"], of["setName"], of["id"]) == (model["id"], group["name"], source.name)
    assert (group["modelId"], group["releaseName"]) == (model["id"], release["name"])
    keys = {(row["modelId"], row["layer"], row["index"]) for row in features}
    assert keys == {(model["id"], of["id"], str(n)) for n in range(4)}
    assert {(row["modelId"], row["layer"], row["index"]) for row in examples} <= keys
    assert len({row["id"] for row in examples}) == len(examples)


def test_an_example_says_where_it_is_from(source):
    example = lines(source / "activations" / "batch-0.jsonl.gz")[0]
    assert {name: example[name] for name in ("tokens", "values", "dataSource", "dataIndex")} == STRONGEST | {
        "dataSource": "first.py",
        "dataIndex": "0",
    }
    assert (example["maxValue"], example["maxValueTokenIndex"], example["minValue"]) == (4.0, 1, 1.0)
    assert (example["binMin"], example["binMax"], example["binContains"]) == (-1, 4, -1)


def test_neighbours_begin_with_the_feature_itself(source):
    first = lines(source / "features" / "batch-0.jsonl.gz")[0]  # feature 3 copies its direction
    assert (first["topkCosSimIndices"][:2], first["topkCosSimValues"][:2]) == ([0, 3], [1.0, 1.0])


def test_a_label_is_an_explanation(source):
    (row,) = lines(source / "explanations" / "batch-0.jsonl.gz")
    assert (row["index"], row["description"], row["notes"]) == ("0", "begins a context", "written by a person")


@pytest.fixture(scope="module")
def traced(index, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("traced") / "out"
    export_features([index], out, "circuit_tracer_features")
    return out


def test_a_record_is_what_circuit_tracers_viewer_shows(traced):
    first = record(traced, 0, 0)
    assert {name: first[name] for name in ("transcoder_id", "index", "act_min", "act_max", "activation_frequency")} == {
        "transcoder_id": "planted.1", "index": 0, "act_min": 1.0, "act_max": 4.0, "activation_frequency": 0.7,
    }  # fmt: skip
    assert (len(first["histogram"]), [count for count in first["histogram"] if count]) == (50, [2, 1, 1, 3])
    assert first["top_logits"][0] == VOCABULARY[5]


def test_percentiles_are_the_smallest_activations_that_enough_tokens_stay_at_or_below(traced):
    found = record(traced, 0, 0)["quantile_values"]  # of 1 1 2 3 4 4 4: a seventh is 14.3 %
    assert len(found) == 100
    assert [found[at - 1] for at in (1, 28, 29, 42, 43, 57, 58, 100)] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert percentiles(as_array(range(1, 101))) == [float(n) for n in range(1, 101)]


def test_sampled_examples_follow_the_strongest_and_say_when_they_repeat_one(traced):
    top, *groups = record(traced, 0, 0)["examples_quantiles"]
    assert top["quantile_name"] == "Top activations"
    assert [group["quantile_name"] for group in groups] == [f"Quantile {n} of 10" for n in (10, 7, 4)]
    shown = [(e["tokens"], e["tokens_acts_list"], e["train_token_ind"]) for g in (top, *groups) for e in g["examples"]]
    assert shown == [
        (*STRONGEST.values(), 1), (*STRONGEST.values(), 1), (*SECOND.values(), 0), (*THIRD.values(), 0),
    ]  # fmt: skip
    assert [e["is_repeated_datapoint"] for g in (top, *groups) for e in g["examples"]] == [False, True, False, False]


def test_features_that_were_not_asked_for_have_no_bytes(index, tmp_path):
    export_features([index], tmp_path / "out", "circuit_tracer_features", range(1, 2))
    assert [record(tmp_path / "out", 0, n) is None for n in range(4)] == [True, False, True, True]
    assert record(tmp_path / "out", 0, 1)["act_max"] == 2.0
