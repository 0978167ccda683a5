"""Gradients of two libraries are compared up to one common factor, on rows where the selection is beyond doubt."""

import pytest
import torch

from saelab.bench.proof import clear_rows, distances, gradients

TRUE = {"W": torch.tensor([3.0, 0.0]), "b": torch.tensor([4.0])}


def test_one_factor_for_all_does_not_count():
    assert max(distances({name: -7 * g for name, g in TRUE.items()}, TRUE).values()) < 1e-6


def test_a_parameter_of_the_wrong_size_counts():
    # s = (9 + 32) / (9 + 64) = 41/73, so W is off by 32/73 and b by 9/73
    found = distances({"W": TRUE["W"], "b": 2 * TRUE["b"]}, TRUE)
    assert found == {"W": pytest.approx(32 / 73), "b": pytest.approx(9 / 73)}


def test_gradients_of_one_row_and_one_feature_by_hand():
    """x = (2, 1), features east and north, k = 1: x_hat = (2, 0), so the residual e is (0, 1)."""
    found = gradients(torch.tensor([[2.0, 1.0]]), torch.eye(2), 1, "topk")
    assert found["W_dec"].tolist() == [[0.0, -4.0], [0.0, 0.0]]  # -2 f e
    assert found["b_dec"].tolist() == [0.0, -2.0]  # -2 e, and nothing by way of the code: e is at a right angle to east
    assert found["b_enc"].tolist() == [0.0, 0.0]


def test_rows_with_two_candidates_for_the_last_place_are_left_out():
    x = torch.tensor([[2.0, 1.0], [1.0, 1.0], [1.0, 2.0]])
    assert clear_rows(x, torch.eye(2), 1, "topk").tolist() == [[2.0, 1.0], [1.0, 2.0]]


def test_a_batch_ends_before_the_row_that_makes_it_ambiguous():
    # one feature per row on average: of 3 rows the 3 largest of 2, 1, 1, 1, 2, 1 are not unique, of 2 rows neither
    x = torch.tensor([[2.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    assert clear_rows(x, torch.eye(2), 1, "batchtopk").tolist() == [[2.0, 1.0]]


def test_all_features_may_be_kept():
    x = torch.tensor([[2.0, 1.0]])
    assert clear_rows(x, torch.eye(2), 2, "topk").tolist() == x.tolist()
