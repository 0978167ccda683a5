"""What an index says of the planted world, against numbers worked out by hand."""

import pytest

from saelab.errors import FeatureIndexError
from saelab.features import Index
from saelab.features.histogram import EDGES


def test_statistics_are_those_of_the_activations_above_zero(index):
    stats = index.stats(0)  # 1 4 2 4 4 3 1 on seven of ten tokens
    assert (stats.count, stats.contexts, stats.density, stats.max) == (7, 3, 0.7, 4.0)
    assert stats.mean == pytest.approx(19 / 7)
    assert stats.std == pytest.approx((63 / 7 - (19 / 7) ** 2) ** 0.5)
    assert dict(stats.quantiles) == {0.1: 1.0, 0.25: 1.0, 0.5: 3.0, 0.75: 4.0, 0.9: 4.0, 0.99: 4.0}


def test_a_dead_feature_has_a_card_too(index):
    card = index.card(3)
    assert (card.stats.count, card.stats.density, card.stats.max, card.stats.mean) == (0, 0.0, 0.0, 0.0)
    assert card.top == ()
    assert card.histogram.counts == ()
    assert card.coactive == ()
    assert card.stats.b_enc == -100.0


def test_the_encoder_is_compared_with_the_decoder(index):
    assert [index.stats(feature).cosine for feature in range(4)] == [1.0, 1.0, 1.0, 1.0]


def test_the_histogram_counts_each_activation_once_in_bins_that_never_move(index):
    histogram = index.card(0).histogram  # two 1s, one 2, one 3, three 4s
    assert histogram.counts == (2, 0, 0, 0, 1, 0, 1, 0, 3)
    assert histogram.edges[0] == 1.0
    assert histogram.edges[8] == 4.0
    assert set(histogram.edges) <= set(EDGES.tolist())


def test_top_examples_are_one_per_context_strongest_first_equals_by_row(index):
    assert [(example.row, example.activation) for example in index.card(0).top] == [(1, 4.0), (4, 4.0), (7, 3.0)]


def test_an_example_shows_its_context_and_nothing_beyond_it(index):
    first, second, _ = index.card(0).top
    assert (first.ids, first.activations, first.peak) == ((0, 1, 2), (1.0, 4.0, 2.0), 1)
    assert (second.ids, second.activations, second.peak) == ((4, 5), (4.0, 4.0), 0)  # row 3 is another context's
    assert (first.document, first.doc, first.pos, second.document, second.pos) == ("first.py", 0, 1, "second.py", 0)


def test_every_context_falls_in_one_quantile_and_is_sampled_there(index):
    quantiles = index.card(0).quantiles
    assert len(quantiles) == 10
    assert [example.row for group in reversed(quantiles) for example in group] == [1, 4, 7]


def test_fewer_examples_can_be_asked_for(index):
    assert [example.row for example in index.card(0, examples=1).top] == [1]


def test_effects_are_of_the_gain_times_the_direction_on_centred_unembeddings(index):
    effects = index.card(0).effects  # gain 2, token 5 at 12 with mean 1: 2 * 11, all others 2 * -1
    assert (effects.promoted[0].id, effects.promoted[0].logit) == (5, pytest.approx(22.0))
    assert all(effect.logit == pytest.approx(-2.0) for effect in effects.suppressed[:11])
    assert index.card(1).effects.promoted[0].token == "docstring"


def test_the_nearest_decoder_row_comes_first_and_never_the_feature_itself(index):
    neighbours = index.card(0).neighbours
    assert (neighbours[0].feature, neighbours[0].cosine) == (3, pytest.approx(1.0))
    assert {neighbour.feature for neighbour in neighbours} == {1, 2, 3}


def test_coactivation_counts_the_tokens_that_both_fire_on(index):
    both = index.card(0).coactive  # features 0 and 1 share rows 1, 4, 5, 7; either fires on seven
    assert [(each.feature, each.count, each.jaccard) for each in both] == [(1, 4, pytest.approx(4 / 7))]
    assert [each.feature for each in index.card(1).coactive] == [0]


def test_hostile_token_strings_come_through_as_they_are(index):
    shown = index.sql("select token from vocabulary order by id")["token"].to_pylist()
    assert shown[3:7] == ["<script>alert(1)</script>", "&amp;", "'; drop table features; --", "\u202e"]
    assert index.card(1).top[2].tokens == ("\n", "</span>")
    assert index.card(0).effects.promoted[0].token == "'; drop table features; --"


def test_a_feature_out_of_range_is_refused_with_the_range(index: Index):
    for ask in (index.card, index.stats, lambda feature: index.maximum([0, feature])):
        with pytest.raises(FeatureIndexError, match="no feature 4: planted has features 0 to 3"):
            ask(4)
    with pytest.raises(FeatureIndexError, match="no feature -1"):
        index.card(-1)


def test_without_a_language_model_the_card_says_that_there_are_no_strings_and_no_effects(rebuild):
    card = rebuild([[1.0], [2.0]], [0, 0]).card(0)
    assert card.effects is None
    assert card.top[0].tokens is None
    assert card.top[0].ids == (0, 1)


def test_how_each_number_was_computed_stands_in_the_index(index):
    assert "mean over the vocabulary" in index.facts["how logits"]
    assert index.facts["tokens"] == 10
    assert index.site == "blocks.0.hook_resid_post"
