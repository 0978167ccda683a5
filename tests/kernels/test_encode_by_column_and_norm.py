"""The rules by which features choose rows, and by which a row's length says how many of its features are kept."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from implementations import device_of, needs_triton
from patterns import numbers

from saelab.kernels.encode_select import FeatureChoice, NormMatch, cpu, encode_select, reference

WAYS = ["reference", "cpu", pytest.param("triton", marks=needs_triton)]


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    monkeypatch.setenv("SAELAB_KERNELS", request.param)
    return request.param


def code(pre, rule, way="cpu"):
    """What is kept of these pre-activations, dense; zero elsewhere."""
    device = device_of(way)
    rule = type(rule)(*(tensor.to(device) for tensor in vars(rule).values()))
    n = pre.shape[1]
    values, pattern = encode_select(
        pre.to(device), torch.eye(n, dtype=pre.dtype, device=device).t(), torch.zeros(n, device=device).to(pre), rule
    )
    dense = torch.zeros(pre.shape, dtype=values.dtype)
    dense[pattern.row.cpu(), pattern.index.cpu()] = values.cpu()
    assert (pattern.index.diff()[pattern.row.diff() == 0] > 0).all()
    return dense


def defined(pre, rule):
    return torch.where(rule.kept(pre), pre, 0.0)


def test_a_feature_keeps_its_largest_rows_and_no_more(way):
    pre = torch.tensor([[3.0, 1.0, 5.0], [2.0, 4.0, -1.0], [1.0, 2.0, -2.0]])
    kept = code(pre, FeatureChoice(torch.tensor([1, 2, 3])), way)
    assert kept.tolist() == [[3.0, 0.0, 5.0], [0.0, 4.0, 0.0], [0.0, 2.0, 0.0]]


def test_of_equal_rows_the_first_are_kept(way):
    pre = torch.full((5, 2), 2.0)
    kept = code(pre, FeatureChoice(torch.tensor([2, 0])), way)
    assert kept.tolist() == [[2.0, 0.0], [2.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("length", "kept"),
    [
        (0.0, [0, 0, 0, 4]),  # one at least
        (4.5, [0, 0, 0, 4]),  # lengths 4 and 5 are as near: the fewer
        (4.6, [3, 0, 0, 4]),
        (99.0, [3, 0, 0, 4]),  # never long enough: all that is positive
    ],
)
def test_a_row_keeps_as_many_as_bring_it_closest_to_its_length(way, length, kept):
    pre = torch.tensor([[3.0, 0.0, -5.0, 4.0]])
    assert code(pre, NormMatch(torch.tensor([length])), way).tolist() == [kept]


@pytest.mark.parametrize(("rows", "n", "seed"), [(1, 1, 0), (3, 97, 1), (97, 3, 2), (130, 130, 3), (300, 40, 4)])
def test_both_are_as_defined_on_any_shape(way, rows, n, seed):
    pre = numbers(rows, n, seed=seed)
    m = torch.randint(0, rows + 2, (n,), generator=torch.Generator().manual_seed(seed))
    length = pre.norm(dim=1) * torch.linspace(0, 1.5, rows, dtype=torch.float64)
    for rule in (FeatureChoice(m), NormMatch(length)):
        assert code(pre, rule, way).equal(defined(pre, rule))


def test_chunks_of_a_few_rows_change_nothing(monkeypatch):
    pre = numbers(300, 50)
    rules = FeatureChoice(torch.arange(50)), NormMatch(pre.norm(dim=1) / 2)
    whole = [code(pre, rule) for rule in rules]
    monkeypatch.setattr(cpu, "CHUNK_BYTES", 7 * 50 * 8)
    for rule, wanted in zip(rules, whole, strict=True):
        assert code(pre, rule).equal(wanted)


def test_a_row_that_needs_many_features_is_asked_for_more_alone(monkeypatch):
    """One row needs all of its 1000 positive values, the others need one."""
    pre = numbers(20, 2000)
    length = torch.full((20,), 3.0, dtype=torch.float64)
    length[7] = 1e3
    kept = code(pre, NormMatch(length))
    assert kept.equal(defined(pre, NormMatch(length)))
    assert kept[7].equal(pre[7].clamp_min(0))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 40), st.integers(0, 2**31 - 1))
def test_equal_values_are_settled_as_defined(rows, n, seed):
    generator = torch.Generator().manual_seed(seed)
    pre = torch.randint(-2, 4, (rows, n), generator=generator).double()
    m = torch.randint(0, rows + 1, (n,), generator=generator)
    length = torch.randint(0, 12, (rows,), generator=generator).double() / 2
    for rule in (FeatureChoice(m), NormMatch(length)):
        assert code(pre, rule).equal(defined(pre, rule))


def test_no_number_is_handed_on_and_hides_no_other():
    pre = numbers(6, 4).abs()
    pre[2, 1] = torch.nan  # and with it, in the product, the row
    kept = code(pre, FeatureChoice(torch.tensor([2, 2, 2, 2])))
    assert (kept.isnan().sum(dim=0) == 1).all() and ((kept > 0).sum(dim=0) == 1).all()
    assert not kept[torch.arange(6) != 2].isnan().any()
    others = torch.arange(6) != 2
    length = torch.full((6,), 2.0, dtype=torch.float64)
    found = code(pre, NormMatch(length))[others]
    assert found.equal(defined(pre[others], NormMatch(length[others])))


def test_the_definition_itself_is_a_full_sort_of_each_column():
    pre = numbers(9, 3)
    assert FeatureChoice(torch.tensor([4, 4, 4])).kept(pre).equal(reference.topk(pre.t().contiguous(), 4).t())
