"""SCR and TPP on rows whose true features are known: the truth scores, a random dictionary does not.

A random dictionary's SCR falls with the width as its overlap does, 1/d: 0.18 at 64, 0.050 at 256 (mean of four pairs).
"""

from statistics import mean

import numpy as np
import pytest
from bed_rows import random_rows, tree, with_codes_of

from saelab.contracts import Silent
from saelab.errors import EvalSkipped
from saelab.evals import scr, tpp
from saelab.evals.sample import ablated, strongest
from saelab.evals.scr import Attribute, score

SETTINGS = {"d": 512, "p": 0.5, "noise": 0.02, "low": 0.7, "high": 1.3}  # 8 parents of 4 exclusive children each


def child(parent: int, which: int) -> str:
    return str(8 + 4 * parent + which)


PAIRS = [
    (Attribute(child(i, 0), child(i, 1)), Attribute(child(j, 0), child(j, 1)))
    for i, j in ((0, 1), (2, 3), (4, 5), (6, 7))
]


@pytest.fixture(scope="module")
def truth():
    (bed, a), (_, b) = tree(20_000, 5, **SETTINGS), tree(20_000, 6, **SETTINGS)
    return a, b, bed.features.numpy()


@pytest.fixture(scope="module")
def chance(truth):
    W = random_rows(40, 512)
    return with_codes_of(truth[0], W, 8), with_codes_of(truth[1], W, 8), W


def test_the_true_dictionary_removes_the_spurious_attribute(truth):
    result = scr.scored(*truth, PAIRS, scr.Config(), Silent())
    assert len(result.pairs) == 4
    for pair in result.pairs:
        assert pair.biased < 0.85 and pair.clean > 0.99
        assert pair.scr[2] >= 0.9
    assert mean(pair.scr[2] for pair in result.pairs) >= 0.95


def test_a_random_dictionary_does_not(chance):
    result = scr.scored(*chance, PAIRS, scr.Config(), Silent())
    assert mean(pair.scr[2] for pair in result.pairs) <= 0.05


def test_the_features_cut_are_those_of_the_spurious_attribute(truth):
    for pair in scr.scored(*truth, PAIRS, scr.Config(), Silent()).pairs:
        assert {str(feature) for feature in pair.features} == set(pair.spurious.split(" / "))


def test_the_true_dictionary_hurts_its_own_class_only(truth):
    result = tpp.scored(*truth, [child(0, i) for i in range(4)], tpp.Config(), Silent())
    assert mean(one.tpp(2) for one in result.classes) >= 0.4
    assert [one.features[0] for one in result.classes] == [8, 9, 10, 11]


def test_a_random_dictionary_hurts_all_or_none(chance):
    result = tpp.scored(*chance, [child(0, i) for i in range(4)], tpp.Config(), Silent())
    assert abs(mean(one.tpp(2) for one in result.classes)) <= 0.05


def test_too_few_rows_are_told(truth):
    with pytest.raises(EvalSkipped, match="four combinations"):
        scr.scored(*truth, [(Attribute(child(0, 0), child(0, 1)), Attribute(child(0, 2)))], scr.Config(), Silent())
    with pytest.raises(EvalSkipped, match="fewer than two of the classes"):
        tpp.scored(*truth, [child(0, 0)], tpp.Config(), Silent())


def test_a_score_is_the_share_of_the_room_that_was_gained():
    assert score(0.6, 0.7, 0.8) == pytest.approx(0.5)
    assert score(0.8, 0.9, 0.8) == 0


def test_taking_all_true_features_out_leaves_the_noise(truth):
    a, _, W = truth
    some = a.take(np.arange(50))
    assert np.abs(ablated(some, np.arange(40), W)).max() < 0.12  # five standard deviations of it, and more


def test_only_features_with_an_effect_are_taken_out():
    assert strongest(np.array([0.0, 3.0, -1.0, 5.0]), 3).tolist() == [3, 1]
