import pytest
import torch
from implementations import device_of, needs_triton
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


def by_feature(pattern: Pattern, weight: torch.Tensor, table: torch.Tensor, device: str) -> torch.Tensor:
    """The sums in fp32, by whatever implementation is asked for, on the CPU again."""
    moved = Pattern(pattern.index.to(device), pattern.offsets.to(device), pattern.n)
    return moved.csc.rows_by_feature(weight.float().to(device), table.float().to(device)).cpu()


@pytest.mark.parametrize(("rows", "n", "d"), [*SIZES, (3, 4, 600)])
def test_every_implementation_sums_to_fp64_s_figures(implementation, device, rows, n, d):
    pattern, table = random_pattern(rows, n), numbers(rows, d)  # of 130 rows feature 0 is active in 129: two pieces
    weight = numbers(len(pattern.index))
    exact = reference.rows_by_feature(weight, table, pattern.row, pattern.index, n)
    # up to 130 terms, each rounded by 6e-8 of itself
    assert (by_feature(pattern, weight, table, device) - exact).norm() <= 2e-6 * exact.norm()


def test_no_entries_sum_to_zero_in_every_implementation(implementation, device):
    pattern = Pattern(torch.zeros(0, dtype=torch.int64), torch.zeros(4, dtype=torch.int64), 5)
    assert by_feature(pattern, torch.zeros(0), torch.ones(3, 2), device).tolist() == [[0.0, 0.0]] * 5


@needs_triton
@pytest.mark.parametrize("piece", [1, 2, 3, 7])
def test_features_of_many_pieces_sum_to_the_same(piece):
    from saelab.kernels.csc import fused

    device = device_of("triton")
    pattern, table = random_pattern(97, 40), numbers(97, 31)
    weight = numbers(len(pattern.index))
    exact = reference.rows_by_feature(weight, table, pattern.row, pattern.index, 40)
    csc = pattern.csc
    given = (weight[csc.order].float(), table.float(), csc.row, csc.offsets)
    found = fused.rows_by_feature(*(tensor.to(device) for tensor in given), piece=piece)
    assert (found.cpu() - exact).norm() <= 2e-6 * exact.norm()
    assert found.equal(fused.rows_by_feature(*(tensor.to(device) for tensor in given), piece=piece))
