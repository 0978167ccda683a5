"""Probes: the minimum is one, and it is found."""

import numpy as np
import pytest
import torch

from saelab.evals.probes import balanced, fit, penalised

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, 7)).astype(np.float32) * np.array([1, 5, 0.1, 1, 1, 1, 1], dtype=np.float32) + 3
Y = X[:, 0] + 0.2 * X[:, 1] + RANDOM.normal(size=300) > 4


@pytest.mark.parametrize("l2", [1e-3, 0.1])
def test_the_gradient_at_the_minimum_is_zero(l2):
    probe = fit(X, Y, l2)
    mean, scale = X.astype(np.float64).mean(0), X.astype(np.float64).std(0)
    p = 1 / (1 + np.exp(-probe.logits(X.astype(np.float64))))
    gradient = ((p - Y)[:, None] * (X - mean) / scale).mean(0) + l2 * probe.w * scale  # of w, in standardised columns
    assert np.abs(gradient).max() < 1e-5
    assert abs((p - Y).mean()) < 1e-5


def test_no_other_direction_has_a_smaller_loss():
    probe = fit(X, Y, 0.01)
    scale = torch.from_numpy(X.astype(np.float64).std(0))
    standard = (torch.from_numpy(X).double() - torch.from_numpy(X.astype(np.float64).mean(0))) / scale
    sign, w = torch.from_numpy(Y).double() * 2 - 1, torch.from_numpy(probe.w) * scale
    b = torch.tensor(probe.b + probe.w @ X.astype(np.float64).mean(0))
    least = penalised(standard, sign, w, b, 0.01)
    for i in range(7):
        for step in (-0.05, 0.05):
            moved = w.clone()
            moved[i] += step
            assert penalised(standard, sign, moved, b, 0.01) > least


def test_a_column_that_never_changes_does_no_harm():
    probe = fit(np.concatenate([X, np.ones((300, 1), np.float32)], axis=1), Y)
    assert np.isfinite(probe.w).all() and probe.w[-1] == 0


def test_accuracy_is_a_half_for_who_always_says_yes():
    probe = fit(X, Y)
    always = type(probe)(np.zeros(7), 1.0)
    assert always.accuracy(X, Y) == 0.5


def test_rows_are_drawn_of_both_classes_alike():
    rows = balanced(np.array([True] * 3 + [False] * 50), 10, np.random.default_rng(0))
    assert sorted(rows[:3].tolist()) == [0, 1, 2] and len(rows) == 6 and rows[3:].min() >= 3
