import pytest
import torch
from patterns import SIZES, numbers, random_pattern

from saelab.kernels.csc import Pattern
from saelab.kernels.sparse_decode import reference, sparse_decode


def both(op, values, pattern, W_dec, upstream):
    """The result of `op` and its gradients in values and W_dec."""
    values, W_dec = values.clone().requires_grad_(), W_dec.clone().requires_grad_()
    out = op(values, pattern, W_dec)
    return out, *torch.autograd.grad(out, (values, W_dec), upstream)


def test_two_rows_by_hand():
    pattern = Pattern(torch.tensor([0, 2, 1]), torch.tensor([0, 2, 3]), 3)
    W_dec = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert sparse_decode(torch.tensor([2.0, 3.0, 4.0]), pattern, W_dec).tolist() == [[5.0, 3.0], [0.0, 4.0]]


@pytest.mark.parametrize(("rows", "n", "d"), SIZES)
def test_values_and_gradients_are_the_reference_s(rows, n, d):
    pattern, W_dec, upstream = random_pattern(rows, n), numbers(n, d), numbers(rows, d, seed=2)
    values = numbers(len(pattern.index), seed=3)
    for mine, theirs in zip(
        both(sparse_decode, values, pattern, W_dec, upstream),
        both(reference.sparse_decode, values, pattern, W_dec, upstream),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_fp32_agrees_with_fp64_to_rounding():
    pattern, W_dec, upstream = random_pattern(97, 130), numbers(130, 97), numbers(97, 97, seed=2)
    values = numbers(len(pattern.index), seed=3)
    low = both(sparse_decode, values.float(), pattern, W_dec.float(), upstream.float())
    for mine, theirs in zip(low, both(reference.sparse_decode, values, pattern, W_dec, upstream), strict=True):
        assert (mine - theirs).norm() < 2e-6 * theirs.norm()  # 26 terms of relative error 6e-8, with slack


def test_the_same_inputs_give_the_same_bits():
    pattern, W_dec, upstream = random_pattern(130, 97), numbers(97, 130).float(), numbers(130, 130).float()
    values = numbers(len(pattern.index)).float()
    again = Pattern(pattern.index.clone(), pattern.offsets.clone(), pattern.n)
    first = both(sparse_decode, values, pattern, W_dec, upstream)
    for mine, repeated in zip(first, both(sparse_decode, values, again, W_dec, upstream), strict=True):
        assert mine.equal(repeated)


def test_rows_without_any_feature_decode_to_zero():
    pattern = Pattern(torch.zeros(0, dtype=torch.int64), torch.zeros(3, dtype=torch.int64), 4)
    out, d_values, d_W_dec = both(sparse_decode, torch.zeros(0), pattern, torch.ones(4, 3), torch.ones(2, 3))
    assert out.tolist() == [[0.0] * 3] * 2
    assert d_values.shape == (0,)
    assert not d_W_dec.any()


def test_what_does_not_fit_is_refused():
    pattern = random_pattern(3, 5)
    with pytest.raises(ValueError, match="4 rows for 5 features"):
        sparse_decode(torch.zeros(len(pattern.index)), pattern, torch.ones(4, 2))
    with pytest.raises(ValueError, match="must be contiguous"):
        sparse_decode(torch.zeros(len(pattern.index)), pattern, torch.ones(2, 5).t())


def test_a_second_derivative_is_refused():
    pattern = random_pattern(3, 5)
    values = torch.ones(len(pattern.index), requires_grad=True)
    out = sparse_decode(values, pattern, torch.ones(5, 2))
    (gradient,) = torch.autograd.grad(out.square().sum(), values, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
