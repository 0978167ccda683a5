"""Detection: rules that are right score 1, another feature's rule is chance."""

import numpy as np
import pytest

from saelab.errors import EvalSkipped
from saelab.evals import EVALS, Subject
from saelab.evals.autointerp import balanced_accuracy, judged, windows_of
from saelab.evals.subject import Explanation, Explanations

autointerp = EVALS["autointerp"]
CFG = autointerp.Config()
WINDOWS, LONG = 400, 32


def token_detectors(n: int, right: bool) -> Explanations:
    """Feature i fires on a token of its own; the rule names that token, or fires at random as often."""
    random = np.random.default_rng(0)
    token = random.integers(60 * n, size=WINDOWS * LONG)  # each on about a third of the windows
    found = []
    for i in range(n):
        fires = np.flatnonzero(token % 60 == i)
        says = fires if right else np.sort(random.choice(len(token), len(fires), replace=False))
        found.append(Explanation(i, f'on "{i}"', fires, random.random(len(fires)) + 0.1, says))
    return Explanations(np.arange(WINDOWS * LONG) // LONG, n, tuple(found))


def values(found: Explanations) -> dict[str, float]:
    return {figure.metric: figure.value for figure in judged(found, CFG).figures()}


def test_rules_of_planted_token_detectors_are_right():
    assert values(token_detectors(20, right=True))["detection"] == 1


def test_swapped_rules_and_random_rules_are_chance():
    assert values(token_detectors(20, right=True))["swapped"] == pytest.approx(0.5, abs=0.05)
    assert values(token_detectors(20, right=False))["detection"] == pytest.approx(0.5, abs=0.05)


def test_a_feature_without_a_rule_counts_as_chance_in_the_figure_of_all():
    found = token_detectors(4, right=True)
    more = Explanations(found.window, 8, found.explained)
    assert values(more)["detection_all"] == 0.75 and values(more)["explained"] == 0.5


def test_windows_are_of_both_kinds_alike_and_of_every_strength():
    one = token_detectors(1, right=True).explained[0]
    window = np.arange(WINDOWS * LONG) // LONG
    fires, silent = windows_of(one, window, CFG, np.random.default_rng(0))
    assert len(fires) == len(silent) == CFG.windows and not set(fires) & set(silent)
    assert set(fires) <= set(window[one.fires])


def test_balanced_accuracy_by_hand():
    assert balanced_accuracy(np.array([True, False, False, True]), np.array([0, 1]), np.array([2, 3])) == 0.5


def test_without_an_index_it_says_so(identity, lm, store):
    with pytest.raises(EvalSkipped, match="needs the checkpoint's feature index"):
        autointerp.run(Subject.of(identity, lm, store), CFG)
