"""All features at once: what passes, the shares of every kind, and places on the map."""

import numpy as np
import pytest
import torch

from saelab.features import Where, atlas
from saelab.features.indexing.weights import principal


def shares(found):
    return {share.name: (share.all, share.passing) for share in found}


def test_every_feature_stands_at_its_place_and_says_whether_it_passes(index):
    found = index.atlas(Where.parse("max >= 4"))
    assert found.max.tolist() == [4, 2, 8, 0]
    assert found.density.tolist() == pytest.approx([0.7, 0.4, 0.1, 0])
    assert found.passes.tolist() == [True, False, True, False]


def test_kinds_are_counted_with_and_without_the_filter(index):
    found = index.atlas(Where.parse("max >= 4"))
    assert shares(found.classes) == {"dead": (1, 0), "ultra-rare": (0, 0), "dense": (2, 1)}
    assert shares(found.cosines) == {"0.95 to 1.00": (4, 2)}
    assert found.groups == ()


def test_the_condition_of_a_kind_lets_through_just_that_kind(index):
    for share in (*index.atlas().classes, *index.atlas().cosines):
        assert index.features(where=Where.parse(share.condition)).total == share.all


def test_a_value_that_is_null_does_not_pass(index):
    assert not index.atlas(Where.parse("threshold < 5")).passes.any()


def test_features_that_pass_are_drawn_first_and_the_rest_is_thinned():
    n = 1000
    passes = np.zeros(n, dtype=bool)
    passes[:30] = True
    drawn = _atlas(passes).drawn(100)
    assert len(drawn) == 100
    assert set(range(30)) <= set(drawn.tolist())
    assert drawn[-30:].tolist() == list(range(30))  # above the others
    assert len(_atlas(~passes).drawn(100)) == 100


def _atlas(passes):
    empty = np.zeros(len(passes))
    return atlas.Atlas(empty, empty, empty, empty, passes, (), (), (), (), None)


def test_the_map_has_the_places_that_a_hand_gives():
    rows = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    places, explained = principal(rows)
    torch.testing.assert_close(places.abs(), rows.abs())
    assert explained == pytest.approx([0.9, 0.1])


def test_the_map_of_one_dimension_has_a_second_coordinate_of_zero():
    places, explained = principal(torch.tensor([[1.0], [-1.0]]))
    assert places.tolist() == [[1.0, 0.0], [-1.0, 0.0]]
    assert explained == pytest.approx([1.0, 0.0])


def test_the_index_holds_the_map_and_how_much_it_shows(index):
    found = index.atlas()
    assert found.map_variance is not None
    assert 0.9 < sum(found.map_variance) <= 1 + 1e-6  # three directions, centred, span a plane
    assert found.pc1[0] == pytest.approx(found.pc1[3])  # feature 3 has the direction of feature 0
