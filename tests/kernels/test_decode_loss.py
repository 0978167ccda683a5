import hypothesis
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from implementations import TRITON, device_of
from patterns import SIZES, numbers, random_pattern

from saelab.kernels.csc import Pattern
from saelab.kernels.decode_loss import Reconstruction, decode_loss, reference

# fp32 against fp64: sums of up to 130 terms whose rounding errors of 6e-8 add up like a random walk, with slack.
CLOSE = 2e-6


def inputs(rows: int, n: int, d: int) -> tuple[torch.Tensor, Pattern, torch.Tensor, torch.Tensor, torch.Tensor, float]:
    """values, pattern, W_dec, bias, y in fp64, and a scale that is no power of two."""
    pattern = random_pattern(rows, n)
    values = numbers(len(pattern.index), seed=3)
    return values, pattern, numbers(n, d, seed=4), numbers(d, seed=5), numbers(rows, d, seed=6), 0.3 / rows


def single(values, pattern, W_dec, bias, y, scale, device="cpu"):
    """The same in fp32, on a device."""
    moved = Pattern(pattern.index.to(device), pattern.offsets.to(device), pattern.n)
    values, W_dec, bias, y = (tensor.float().to(device) for tensor in (values, W_dec, bias, y))
    return values, moved, W_dec, bias, y, scale


def assert_near(mine, theirs, sizes=None):
    """`sizes` are what the terms add up to without cancelling: that is what rounding is relative to."""
    for found, wanted, size in zip(mine, theirs, sizes or theirs, strict=True):
        assert found.shape == wanted.shape
        assert (found.cpu().double() - wanted).norm() <= CLOSE * size.norm()


def uncancelled(values, pattern, W_dec, bias, y, scale):
    """Loss and gradients when every term has the same sign."""
    return reference.decode_loss(values.abs(), pattern, W_dec.abs(), bias.abs(), -y.abs(), scale)


def test_one_row_by_hand(implementation, device):
    pattern = Pattern(torch.tensor([0, 2]), torch.tensor([0, 2]), 3)
    W_dec = torch.tensor([[1.0, 0.0], [9.0, 9.0], [1.0, 1.0]])
    given = (torch.tensor([2.0, 3.0]), pattern, W_dec, torch.ones(2), torch.tensor([[7.0, 2.0]]), 0.5)
    found = decode_loss(*single(*given, device=device))
    # x_hat = 2 (1, 0) + 3 (1, 1) + (1, 1) = (6, 4), r = (1, -2), loss = 5 / 2, error = -r = (-1, 2)
    assert found.loss.item() == 2.5
    assert found.error.tolist() == [[-1.0, 2.0]]
    assert found.d_values.tolist() == [-1.0, 1.0]


@pytest.mark.parametrize(("rows", "n", "d"), [*SIZES, (5, 40, 31), (2, 7, 600)])
def test_loss_and_gradients_are_those_of_fp64_autograd(implementation, device, rows, n, d):
    exact = inputs(rows, n, d)
    assert_near(decode_loss(*single(*exact, device=device)), reference.decode_loss(*exact))


def test_the_reference_is_what_autograd_finds_for_the_whole_of_it():
    """Its error and d_values against finite differences of the loss alone."""
    values, pattern, W_dec, bias, y, scale = inputs(3, 7, 5)
    loss = lambda values, bias: reference.decode_loss(values, pattern, W_dec, bias, y, scale)[0]  # noqa: E731
    _, error, d_values = reference.decode_loss(values, pattern, W_dec, bias, y, scale)
    step = 1e-6
    for e in range(len(values)):
        moved = torch.eye(len(values), dtype=values.dtype)[e] * step
        slope = (loss(values + moved, bias) - loss(values - moved, bias)) / (2 * step)
        torch.testing.assert_close(slope, d_values[e], rtol=1e-6, atol=1e-8)
    moved = torch.eye(len(bias), dtype=bias.dtype)[0] * step
    slope = (loss(values, bias + moved) - loss(values, bias - moved)) / (2 * step)
    torch.testing.assert_close(slope, error.sum(0)[0], rtol=1e-6, atol=1e-8)


@hypothesis.given(st.integers(1, 5), st.integers(1, 12), st.integers(1, 40), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_any_shape(rows, n, d, seed):
    name = "triton" if TRITON else "cpu"
    pattern = random_pattern(rows, n, seed)
    exact = (numbers(len(pattern.index), seed=seed), pattern, numbers(n, d), numbers(d), numbers(rows, d, seed=2), 1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAELAB_KERNELS", name)
        found = decode_loss(*single(*exact, device=device_of(name)))
        assert_near(found, reference.decode_loss(*exact), uncancelled(*exact))


def test_the_loss_can_be_differentiated_in_everything_it_reads(implementation, device):
    values, pattern, W_dec, bias, y, scale = inputs(5, 40, 31)
    leaves = [tensor.clone().requires_grad_() for tensor in (values, W_dec, bias, y)]
    f = values.new_zeros(pattern.n_rows, pattern.n).index_put((pattern.row, pattern.index), leaves[0])
    exact = 3 * scale * (leaves[3] - f @ leaves[1] - leaves[2]).pow(2).sum()
    values, pattern, W_dec, bias, y, scale = single(values, pattern, W_dec, bias, y, scale, device)
    mine = [tensor.clone().requires_grad_() for tensor in (values, W_dec, bias, y)]
    loss, error = Reconstruction.apply(*mine, pattern, scale)
    assert not error.requires_grad
    assert_near(torch.autograd.grad(3 * loss, mine), torch.autograd.grad(exact, leaves))


def test_a_row_without_features_is_its_bias(implementation, device):
    pattern = Pattern(torch.zeros(0, dtype=torch.int64), torch.zeros(3, dtype=torch.int64), 4)
    exact = (torch.zeros(0, dtype=torch.float64), pattern, numbers(4, 3), numbers(3), numbers(2, 3), 1.0)
    assert_near(decode_loss(*single(*exact, device=device)), reference.decode_loss(*exact))


def test_the_same_inputs_give_the_same_bits(implementation, device):
    given = single(*inputs(97, 40, 31), device=device)
    for first, again in zip(decode_loss(*given), decode_loss(*given), strict=True):
        assert first.equal(again)


def test_every_output_is_written(implementation, device, monkeypatch):
    """Fresh memory full of NaN: what a kernel leaves unwritten would show."""
    fresh = torch.empty

    def poisoned(*shape, **how):
        tensor = fresh(*shape, **how)
        return tensor.fill_(float("nan")) if tensor.is_floating_point() else tensor

    monkeypatch.setattr(torch, "empty", poisoned)
    for found in decode_loss(*single(*inputs(5, 40, 31), device=device)):
        assert found.isfinite().all()


def test_what_is_no_number_shows_in_the_row_it_is_in_and_in_no_other(implementation, device):
    values, pattern, W_dec, bias, y, scale = inputs(5, 40, 31)
    y[3, 7] = float("nan")
    found = decode_loss(*single(values, pattern, W_dec, bias, y, scale, device))
    assert found.loss.isnan() and found.error[3, 7].isnan()
    assert found.error[[0, 1, 2, 4]].isfinite().all()


def test_what_does_not_fit_is_refused(implementation, device):
    values, pattern, W_dec, bias, y, scale = single(*inputs(3, 7, 5), device=device)
    with pytest.raises(ValueError, match="values, W_dec rows"):
        decode_loss(values[:-1], pattern, W_dec, bias, y, scale)
    with pytest.raises(ValueError, match="W_dec has strides"):
        decode_loss(values, pattern, W_dec.t().contiguous().t(), bias, y, scale)
