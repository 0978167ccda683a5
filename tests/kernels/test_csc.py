import pytest
import torch
from patterns import SIZES, numbers, random_pattern

from saelab.kernels.csc import Pattern, reference


def test_three_entries_are_listed_feature_by_feature():
    pattern = Pattern(torch.tensor([1, 0, 1]), torch.tensor([0, 1, 3]), 3)  # row 0: {1}; row 1: {0, 1}
    assert pattern.row.tolist() == [0, 1, 1]
    assert pattern.csc.order.tolist() == [1, 0, 2]
    assert pattern.csc.row.tolist() == [1, 0, 1]
    assert pattern.csc.offsets.tolist() == [0, 1, 3, 3]


@pytest.mark.parametrize(("rows", "n", "_d"), SIZES)
def test_the_sort_is_the_reference_s(rows, n, _d):
    pattern = random_pattern(rows, n)
    order, offsets = reference.sort_by_feature(pattern.index, n)
    assert pattern.csc.order.equal(order)
    assert pattern.csc.offsets.equal(offsets)


@pytest.mark.parametrize(("rows", "n", "d"), SIZES)
def test_sums_by_feature_are_the_reference_s(rows, n, d):
    pattern, table = random_pattern(rows, n), numbers(rows, d)
    weight = numbers(len(pattern.index))
    want = reference.rows_by_feature(weight, table, pattern.row, pattern.index, n)
    torch.testing.assert_close(pattern.csc.rows_by_feature(weight, table), want)
    torch.testing.assert_close(
        pattern.csc.by_feature(weight), torch.zeros(n).double().index_add(0, pattern.index, weight)
    )


def test_no_entries_at_all_sum_to_zero():
    pattern = Pattern(torch.zeros(0, dtype=torch.int64), torch.zeros(4, dtype=torch.int64), 5)
    assert pattern.csc.rows_by_feature(torch.zeros(0), torch.ones(3, 2)).tolist() == [[0.0, 0.0]] * 5
    assert pattern.csc.by_feature(torch.zeros(0)).tolist() == [0.0] * 5


def test_the_sort_is_done_once():
    pattern = random_pattern(3, 5)
    assert pattern.csc is pattern.csc
