"""All features at once: what passes, the shares of every kind, and places on the map."""

import numpy as np
import pytest
import torch

from saelab.features import Where, atlas, write_labels
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


@pytest.fixture
def labelled(index):
    """Of four features one with a rule, one with a label that says no kind, one that a person named, one without."""
    write_labels(index.path, {0: {"label": "comment", "f1": 0.9, "kind": "syntax"}, 1: {"label": "x", "f1": 0.5}})
    index.note(2, "mine", "")
    yield index
    for file in (*index.path.glob("notes.json*"), index.path / "labels.json"):
        file.unlink()


def test_labels_are_counted_by_kind_and_features_without_one_among_them(labelled):
    found = labelled.atlas(Where.parse("max >= 4"))
    assert [share.name for share in found.kinds] == ["syntax", "by hand", "unsaid", "no label"]
    assert shares(found.kinds) == {"syntax": (1, 1), "by hand": (1, 1), "unsaid": (1, 0), "no label": (1, 0)}
    for share in found.kinds:
        assert labelled.features(where=Where.parse(share.condition)).total == 1


def test_the_kind_of_a_label_that_nobody_foresaw_is_shown_by_its_name(labelled):
    write_labels(labelled.path, {0: {"label": "a", "kind": "it's"}, 3: {"label": "b", "kind": "token"}})
    found = labelled.atlas(Where.parse("kind = 'it''s'"))
    assert [(share.name, share.all, share.passing) for share in found.kinds] == [
        ("the token", 1, 0), ("by hand", 1, 0), ("it's", 1, 1), ("no label", 1, 0)]  # fmt: skip


def test_without_labels_there_are_no_kinds(index):
    assert index.atlas().kinds == ()
    assert not index.scored


def test_the_f1_is_of_the_automatic_label_also_where_a_person_named_the_feature(labelled):
    labelled.note(0, "mine as well", "")
    assert labelled.scored
    rows = labelled.features("feature", descending=False, where=Where.parse("f1 >= 0.5")).rows
    assert [(row.feature, row.label.text, row.f1) for row in rows] == [(0, "mine as well", 0.9), (1, "x", 0.5)]


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
