"""Filters as people write them: what passes, what is bound, and what is refused."""

import pytest

from saelab.errors import FeatureIndexError
from saelab.features import Where, drop_filter, read_filters, save_filter, saved_filter


def passing(index, text):
    return [row.feature for row in index.features("feature", descending=False, where=Where.parse(text)).rows]


@pytest.mark.parametrize(
    ("text", "features"),  # feature 0 fires on 7 of 10 tokens up to 4, 1 on 4 up to 2, 2 on 1 at 8, 3 never
    [
        ("", [0, 1, 2, 3]),
        ("count = 0", [3]),
        ("density > 0.3", [0, 1]),
        ("density > 0.3 and max between 3 and 5", [0]),
        ("max >= 8 or count = 0", [2, 3]),
        ("not (max >= 8 or count = 0)", [0, 1]),
        ("feature in (1, 3)", [1, 3]),
        ("feature not in (1, 3) and max <> 8", [0]),
        ("MAX > 7 AND not density > .5", [2]),
        ("label is null and max > mean", [0, 1]),
        ("threshold is not null", []),
        ("matryoshka_group = 1", []),
    ],
)
def test_a_filter_lets_through_what_it_says(index, text, features):
    assert passing(index, text) == features


def test_a_text_reads_back_as_the_same_filter():
    text = "density > 0.3 and (max >= 8 or count = 0) and label like 'it''s%'"
    asked = Where.parse(text)
    assert asked.text == text
    assert [part.columns for part in asked.parts] == [{"density"}, {"max", "count"}, {"label"}]
    assert Where.parse(asked.text) == asked


def test_values_are_bound_and_never_written_into_the_query():
    asked = Where.parse("label = '''; drop table features; --' and density < 5")
    assert [sql for sql, _ in asked.conditions()] == ['("label" = ?)', '("density" < ?)']
    assert [values for _, values in asked.conditions()] == [("'; drop table features; --",), (5.0,)]


@pytest.mark.parametrize(
    "text",
    [
        "1) union select * from read_text('/etc/passwd') --",
        "feature in (select 1)",
        "read_text('/etc/passwd') is null",
        "density > 1; drop table features",
        "density > pg_sleep(10)",
        "density >",
        "density",
        "1 = 1",
        "label > 3",
        "density = 'x'",
        "kind > 3",
        "density > 0.1 and",
        "(density > 0.1",
        "max > 1 /* */",
        "density > 0.1 'x'",
        "(" * 60 + "density > 0" + ")" * 60,
        "density > 0 and " * 200 + "density > 0",
    ],
)
def test_anything_else_is_refused_in_words(text):
    with pytest.raises(FeatureIndexError, match="filter|no column"):
        Where.parse(text)


def test_a_filter_says_what_it_asks_for_at_least():
    assert Where.parse("max < 3 and f1 >= 0.8").at_least("f1") == 0.8
    for other in ("", "f1 > 0.8", "f1 >= 0.8 or max > 1", "0.8 >= f1", "max >= 0.8"):
        assert Where.parse(other).at_least("f1") is None


def test_a_misspelt_column_names_the_nearest():
    with pytest.raises(FeatureIndexError, match="Did you mean 'density'"):
        Where.parse("densty > 0.1")


def test_a_brush_replaces_what_was_said_of_its_columns_and_nothing_else():
    asked = Where.parse("density > 0.1 and max < 3 and label = 'x' and (density < 0.5 or cosine < 0)")
    now = asked.replaced(("density", "max"), "density between 0.2 and 0.3 and max between 1 and 2")
    assert now.text == (
        "label = 'x' and (density < 0.5 or cosine < 0) and density between 0.2 and 0.3 and max between 1 and 2"
    )


def test_filters_are_saved_beside_the_run_and_forgotten(tmp_path):
    assert read_filters(tmp_path) == {}
    save_filter(tmp_path, "rare", "density < 0.001")
    save_filter(tmp_path, "dense", "density > 0.1")
    save_filter(tmp_path, "rare", "density < 0.01")
    assert read_filters(tmp_path) == {"dense": "density > 0.1", "rare": "density < 0.01"}
    assert saved_filter(tmp_path, "rare").text == "density < 0.01"
    drop_filter(tmp_path, "dense")
    assert list(read_filters(tmp_path)) == ["rare"]
    with pytest.raises(FeatureIndexError, match="holds no filter 'dense'. It holds: rare"):
        saved_filter(tmp_path, "dense")


@pytest.mark.parametrize(("name", "text"), [("../x", "density > 0"), ("", "density > 0"), ("x", "densty > 0")])
def test_a_filter_that_could_not_be_used_is_not_saved(tmp_path, name, text):
    with pytest.raises(FeatureIndexError):
        save_filter(tmp_path, name, text)
    assert read_filters(tmp_path) == {}
