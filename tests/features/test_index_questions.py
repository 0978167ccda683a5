"""The table of features, labels, searches and SQL."""

import json

import pytest

from saelab.errors import FeatureIndexError
from saelab.features import FeatureFilter, write_labels


@pytest.fixture
def labelled(index):
    write_labels(index.path, {1: {"label": "Comment", "f1": 0.5}, 0: {"label": "comment start", "f1": 0.9}})
    yield index
    (index.path / "labels.json").unlink()


def numbers(table):
    return [row.feature for row in table.rows]


def test_the_densest_features_come_first_and_equals_by_number(index):
    assert numbers(index.features()) == [0, 1, 2, 3]
    assert numbers(index.features("max")) == [2, 0, 1, 3]
    assert numbers(index.features("cosine")) == [0, 1, 2, 3]


def test_the_table_comes_in_pages_that_know_the_total(index):
    page = index.features("feature", descending=False, limit=2, offset=1)
    assert numbers(page) == [1, 2]
    assert (page.total, page.offset) == (4, 1)
    assert numbers(index.features(limit=None)) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("where", "left"),
    [
        (FeatureFilter(min_density=0.4), [0, 1]),
        (FeatureFilter(max_density=0.4), [1, 2, 3]),
        (FeatureFilter(min_activation=4.0), [0, 2]),
        (FeatureFilter(max_activation=4.0), [0, 1, 3]),
        (FeatureFilter(alive=False), [3]),
        (FeatureFilter(alive=True, max_density=0.1), [2]),
    ],
)
def test_filters_keep_what_was_asked_for(index, where, left):
    assert numbers(index.features(where=where)) == left


def test_a_column_that_is_not_in_the_table_is_refused(index):
    with pytest.raises(FeatureIndexError, match="cannot be sorted by 'density; drop table features'"):
        index.features("density; drop table features")


def test_labels_are_shown_searched_and_sorted_by(labelled):
    assert labelled.card(1).label.text == "Comment"
    assert [row.label.text if row.label else None for row in labelled.features().rows][:2] == [
        "comment start",
        "Comment",
    ]
    assert numbers(labelled.search_label("COMMENT")) == [0, 1]
    assert numbers(labelled.search_label("%")) == []
    assert numbers(labelled.features("label", descending=False))[:2] == [1, 0]
    assert labelled.card(0).coactive[0].label.text == "Comment"


@pytest.mark.parametrize(("least", "left"), [(0.0, [0, 1]), (0.5, [0, 1]), (0.51, [0]), (0.91, [])])
def test_a_least_f1_keeps_what_was_measured_and_is_as_good(labelled, least, left):
    assert numbers(labelled.features(where=FeatureFilter(min_f1=least))) == left


def test_labels_are_read_again_when_they_change(labelled):
    write_labels(labelled.path, {2: {"label": "string"}})
    assert labelled.card(1).label is None
    assert (labelled.card(2).label.text, labelled.card(2).label.f1) == ("string", None)


def test_labels_of_another_shape_are_refused(labelled):
    (labelled.path / "labels.json").write_text(json.dumps(["comment"]), encoding="utf-8")
    with pytest.raises(FeatureIndexError, match="not a mapping of FEATURE"):
        labelled.features()


def test_features_are_found_by_the_tokens_they_promote(index):
    best = index.search_promoted("docstr")[0]
    assert (best.feature, best.effect.token, best.effect.logit) == (1, "docstring", pytest.approx(11.0))
    assert index.search_promoted("no such token") == ()


def test_the_maxima_come_in_the_order_they_were_asked_in(index):
    assert index.maximum([2, 0, 3]).tolist() == [8.0, 4.0, 0.0]
    assert index.counts().tolist() == [7, 4, 1, 0]


def test_the_density_histogram_leaves_dead_features_out(index):
    histogram = index.density_histogram()
    assert sum(histogram.counts) == 3
    assert len(histogram.edges) == len(histogram.counts) + 1


def test_sql_sees_every_activation(index):
    answer = index.sql("select row, act from activations where feature = 0 order by act desc, row limit 3").to_pylist()
    assert answer == [{"row": 1, "act": 4.0}, {"row": 4, "act": 4.0}, {"row": 5, "act": 4.0}]
    assert index.sql("select count(*) as n from features").to_pylist() == [{"n": 4}]


@pytest.mark.parametrize(
    "query",
    ["drop table features", "select 1; select 2", "copy features to 'x.csv'", "select * from '/etc/passwd'", "selec"],
)
def test_sql_that_does_more_than_read_the_index_is_refused(index, query):
    with pytest.raises(FeatureIndexError):
        index.sql(query)


def test_the_mean_counts_the_tokens_on_which_a_feature_is_silent(index):
    features = [0, 2, 3]
    each = [index.stats(feature) for feature in features]
    assert index.mean(features).tolist() == pytest.approx([one.mean * one.density for one in each])
    assert each[0].density < 1
