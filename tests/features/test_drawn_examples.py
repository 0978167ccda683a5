"""Examples by interval and silent ones, tokens that features fire on, neighbours elsewhere, on the planted world."""

import pytest

from saelab.errors import CheckpointError, FeatureIndexError, StoreError
from saelab.features import across
from saelab.sae import SAE


@pytest.fixture(scope="module")
def rows(index, planted):
    return index.rows(planted[1])


def test_intervals_are_equally_wide_and_hold_every_activation_once(index, rows):
    found = index.intervals(rows, 0, n=4, each=5)  # 1 1 2 3 4 4 4 on rows 0 9 2 7 1 4 5; intervals of width 1
    assert [(one.low, one.high, one.count) for one in found] == [(3.0, 4.0, 3), (2.0, 3.0, 1), (1.0, 2.0, 1), (0, 1, 2)]
    assert [round(7 * one.share) for one in found] == [3, 1, 1, 2]
    assert {example.row for example in found[3].examples} == {0, 9}
    assert [example.activation for example in found[1].examples] == [3.0]


def test_of_one_context_an_interval_shows_one_example(index, rows):
    strongest = index.intervals(rows, 0, n=4)[0]  # rows 1, 4, 5; 4 and 5 are in one context
    assert sorted({1: 0, 4: 1, 5: 1}[example.row] for example in strongest.examples) == [0, 1]


def test_an_example_that_was_drawn_shows_what_a_kept_one_shows(index, rows):
    drawn = {e.row: e for one in index.intervals(rows, 0, n=4) for e in one.examples}
    kept = {e.row: e for e in index.card(0).top}
    for row in drawn.keys() & kept.keys():
        assert (drawn[row].ids, drawn[row].tokens, drawn[row].activations, drawn[row].peak, drawn[row].document) == (
            kept[row].ids, kept[row].tokens, kept[row].activations, kept[row].peak, kept[row].document)  # fmt: skip
    assert drawn.keys() & kept.keys()


def test_silent_places_are_silent_on_all_that_is_shown(index, rows):
    found = index.silent(rows, 2)  # fires on row 6 alone; windows reach one token to either side
    assert found
    assert all(set(example.activations) == {0.0} for example in found)
    assert not {5, 6} & {example.row for example in found}
    assert len({(0, 0, 0, 0, 1, 1, 1, 2, 2, 2)[example.row] for example in found}) == len(found)


def test_a_feature_that_never_fires_has_no_intervals_and_is_silent_everywhere(index, rows):
    assert index.intervals(rows, 3) == ()
    assert len(index.silent(rows, 3)) == 3  # one per context


def test_a_token_finds_the_features_that_fire_on_it(index, planted):
    found = index.search_fires(planted[1], " b ")  # row 1: feature 0 at 4, feature 1 at 2
    assert (found.tokens, found.occurrences) == (("b",), 1)
    assert [(one.feature, one.count, one.max) for one in found.firing] == [(1, 1, 2.0), (0, 1, 4.0)]
    assert found.firing[0].f1 == pytest.approx(2 / 5)  # four firings, one occurrence, both at once
    assert (found.firing[1].precision, found.firing[1].recall) == (pytest.approx(1 / 7), 1.0)


def test_a_text_inside_tokens_is_found_when_asked_for(index, planted):
    assert index.search_fires(planted[1], "span").occurrences == 0
    assert index.search_fires(planted[1], "span", contains=True).occurrences == 1
    assert index.search_fires(planted[1], "'; drop table features; --").occurrences == 1


def test_another_store_is_refused(index, planted, tmp_path):
    other = type(planted[1]).open(planted[1].path)
    other.hash = "other"
    for ask in (lambda: index.rows(other), lambda: index.search_fires(other, "a")):
        with pytest.raises(StoreError, match="another store"):
            ask()


def test_an_index_without_token_strings_says_what_it_lacks(rebuild, tmp_path):
    built = rebuild([[1.0], [2.0]], [0, 0])
    from saelab.store import Store

    with pytest.raises(FeatureIndexError, match="without a language model"):
        built.search_fires(Store.open(tmp_path / "store-2"), "a")


def test_the_nearest_features_of_another_sae_are_those_that_point_the_same_way(planted):
    sae = SAE.load(planted[0])
    found = across(sae, 1, sae, most=2)
    assert (found[0].feature, found[0].cosine) == (1, pytest.approx(1.0))
    assert found[1].cosine == pytest.approx(0.0)


def test_an_sae_of_another_site_is_refused(planted):
    sae, other = SAE.load(planted[0]), SAE.load(planted[0])
    other.metadata = {**other.metadata, "hook_name": "blocks.1.hook_resid_post"}
    with pytest.raises(CheckpointError, match=r"blocks\.1\.hook_resid_post"):
        across(sae, 0, other)
