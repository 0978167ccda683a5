import hypothesis
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from implementations import TRITON, device_of
from patterns import SIZES, numbers, random_pattern
from torch import Tensor

from saelab.kernels.csc import Pattern
from saelab.kernels.decode_loss import Reconstruction, decode_loss
from saelab.kernels.deferred import RowSum, deferring
from saelab.kernels.nested_loss import NestedReconstruction, budget_levels, nested_loss, prefix_levels, reference

# fp32 against fp64: sums of up to 130 terms whose rounding errors of 6e-8 add up like a random walk, and then a sum
# along at most 4 levels, with slack.
CLOSE = 2e-6


Given = tuple[Tensor, Pattern, Tensor, Tensor, Tensor, Tensor, Tensor, float]


def inputs(rows: int, n: int, d: int, M: int = 3, seed: int = 3) -> Given:
    """values, pattern, level, weights, W_dec, bias, y in fp64, and a scale that is no power of two.

    Levels in no order: what neither prefixes nor budgets can give is allowed too. Weights above 0, none of them 1.
    """
    pattern = random_pattern(rows, n, seed)
    nz = len(pattern.index)
    level = torch.randint(M, (nz,), generator=torch.Generator().manual_seed(seed))
    rest = (numbers(M, seed=2).abs(), numbers(n, d, seed=4), numbers(d, seed=5), numbers(rows, d, seed=6), 0.3 / rows)
    return numbers(nz, seed=seed), pattern, level, *rest


def single(device, values, pattern, level, weights, W_dec, bias, y, scale):
    """The same in fp32, on a device."""
    moved = Pattern(pattern.index.to(device), pattern.offsets.to(device), pattern.n)
    values, weights, W_dec, bias, y = (tensor.float().to(device) for tensor in (values, weights, W_dec, bias, y))
    return values, moved, level.to(device), weights, W_dec, bias, y, scale


def assert_near(mine, theirs):
    for found, wanted in zip(mine, theirs, strict=True):
        assert found.shape == wanted.shape
        assert (found.cpu().double() - wanted).norm() <= CLOSE * wanted.norm()


def sizes(values, pattern, level, weights, W_dec, bias, y, scale):
    """Of each number that comes out, what its terms add up to in size: with these signs none cancels another."""
    values, weights, W_dec, bias, y = values.abs(), weights.abs(), W_dec.abs(), bias.abs(), -y.abs()
    return reference.nested_loss(values, pattern, level, weights, W_dec, bias, y, scale)


def test_one_row_by_hand(implementation, device):
    pattern = Pattern(torch.tensor([0, 2]), torch.tensor([0, 2]), 3)
    W_dec = torch.tensor([[1.0, 0.0], [9.0, 9.0], [1.0, 1.0]])
    level, weights = torch.tensor([0, 1]), torch.tensor([1.0, 2.0])
    given = (torch.tensor([2.0, 3.0]), pattern, level, weights, W_dec, torch.ones(2), torch.tensor([[7.0, 2.0]]), 0.5)
    found = nested_loss(*single(device, *given))
    # r_0 = (7, 2) - (1, 1) - 2 (1, 0) = (4, 1), r_1 = r_0 - 3 (1, 1) = (1, -2); losses 17 / 2 and 5 / 2
    # error_1 = -2 r_1 = (-2, 4), error_0 = -r_0 + error_1 = (-6, 3)
    assert found.losses.tolist() == [8.5, 2.5] and found.loss.item() == 8.5 + 2 * 2.5
    assert found.error.tolist() == [[[-6.0, 3.0], [-2.0, 4.0]]]
    assert found.d_values.tolist() == [-6.0, 2.0]


def test_the_level_of_a_feature_is_the_first_prefix_it_is_below():
    pattern = Pattern(torch.tensor([0, 1, 2, 4, 5, 8]), torch.tensor([0, 4, 6]), 9)
    assert prefix_levels(pattern, [2, 5, 9]).tolist() == [0, 0, 1, 1, 2, 2]
    assert prefix_levels(pattern, [0, 9]).tolist() == [1] * 6  # the bias alone, and everything


def test_the_level_of_a_value_is_the_first_budget_its_rank_is_within():
    pattern = Pattern(torch.tensor([0, 1, 2, 3, 1, 2]), torch.tensor([0, 4, 4, 6]), 4)
    values = torch.tensor([5.0, 7.0, 1.0, 7.0, -float("inf"), 3.0])
    # by rank: 7 at feature 1 (the lower of two equals), 7 at 3 | 5, then 1; in the last row 3 | -inf
    assert budget_levels(values, pattern, [1, 2, 4]).tolist() == [2, 0, 2, 1, 1, 0]
    assert budget_levels(torch.zeros(0), Pattern(torch.zeros(0).long(), torch.zeros(3).long(), 4), [1]).tolist() == []


@pytest.mark.parametrize("sizes", [[3, 2, 7], [2, 2, 7], [-1, 7], []])
def test_what_does_not_ascend_is_refused(sizes):
    values, pattern, *_ = inputs(3, 7, 5)
    with pytest.raises(ValueError, match="prefixes are .* must ascend"):
        prefix_levels(pattern, sizes)
    with pytest.raises(ValueError, match="budgets are .* must ascend"):
        budget_levels(values, pattern, sizes)


def test_prefixes_and_budgets_that_leave_something_out_are_refused():
    pattern = Pattern(torch.tensor([0, 1, 2]), torch.tensor([0, 3]), 7)
    with pytest.raises(ValueError, match="last prefix is 6: it must be 7"):
        prefix_levels(pattern, [2, 6])
    with pytest.raises(ValueError, match="1 entries come after the 2 largest"):
        budget_levels(torch.ones(3), pattern, [1, 2])


@pytest.mark.parametrize(("rows", "n", "d"), [*SIZES, (5, 40, 31), (2, 7, 600)])
def test_loss_and_gradients_are_those_of_fp64_autograd(implementation, device, rows, n, d):
    exact = inputs(rows, n, d)
    assert_near(nested_loss(*single(device, *exact)), reference.nested_loss(*exact))


@hypothesis.given(
    st.integers(1, 5), st.integers(1, 12), st.integers(1, 40), st.integers(1, 4), st.integers(0, 10**6), st.booleans()
)
@settings(max_examples=25, deadline=None)
def test_any_shape(rows, n, d, M, seed, ascending):
    name = "triton" if TRITON else "cpu"
    values, pattern, level, *rest = inputs(rows, n, d, M, seed)
    if ascending:
        level = pattern.index * M // n
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAELAB_KERNELS", name)
        found = nested_loss(*single(device_of(name), values, pattern, level, *rest))
    exact = (values, pattern, level, *rest)
    for mine, wanted, size in zip(found, reference.nested_loss(*exact), sizes(*exact), strict=True):
        # terms that nearly cancel leave their rounding errors, and hypothesis finds such terms
        assert ((mine.cpu().double() - wanted).abs() <= CLOSE * size).all()


@pytest.mark.parametrize(("rows", "n", "d"), [(5, 40, 31), (2, 7, 600)])
def test_one_code_of_weight_1_is_decode_loss_to_the_last_bit(implementation, device, rows, n, d):
    values, pattern, level, weights, W_dec, bias, y, scale = single(device, *inputs(rows, n, d, M=1))
    weights = torch.ones_like(weights)
    plain = decode_loss(values, pattern, W_dec, bias, y, scale)
    nested = nested_loss(values, pattern, level, weights, W_dec, bias, y, scale)
    assert nested.loss.equal(plain.loss) and nested.losses.equal(plain.loss.unsqueeze(0))
    assert nested.error.squeeze(1).equal(plain.error) and nested.d_values.equal(plain.d_values)
    leaves = [tensor.requires_grad_() for tensor in (values, W_dec, bias, y)]
    mine = torch.autograd.grad(NestedReconstruction.apply(*leaves, weights, pattern, level, scale)[0], leaves)
    theirs = torch.autograd.grad(Reconstruction.apply(*leaves, pattern, scale)[0], leaves)
    assert all(found.equal(wanted) for found, wanted in zip(mine, theirs, strict=True))


@pytest.mark.parametrize("name", ["reference", "cpu"])
def test_gradients_are_those_of_finite_differences(name, monkeypatch):
    monkeypatch.setenv("SAELAB_KERNELS", name)
    values, pattern, level, weights, *rest, scale = inputs(3, 7, 5)
    leaves = [tensor.clone().requires_grad_() for tensor in (values, *rest, weights)]
    # fp64, steps of 1e-6 in a quadratic: gradcheck's own tolerances, 1e-5 absolute and 1e-3 relative
    assert torch.autograd.gradcheck(lambda *x: NestedReconstruction.apply(*x, pattern, level, scale)[0], leaves)


def by_prefixes(pattern: Pattern, values: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Levels, and which entries each code holds, counted otherwise than the levels are."""
    prefixes = [7, 8, 40]
    return prefix_levels(pattern, prefixes), [pattern.index < n for n in prefixes]


def by_budgets(pattern: Pattern, values: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The same for the largest 2, 3 and 40 of each row."""
    f = values.new_full((pattern.n_rows, 40), float("-inf"))
    f[pattern.row, pattern.index] = values
    least = [f.topk(k).values[pattern.row, -1] for k in (2, 3, 40)]
    return budget_levels(values, pattern, [2, 3, 40]), [values >= limit for limit in least]


@pytest.mark.parametrize("nested", [by_prefixes, by_budgets])
def test_the_loss_can_be_differentiated_in_everything_it_reads(implementation, device, nested):
    """3 times the loss, against dense matrices, one for each code."""
    values, pattern, _, weights, W_dec, bias, y, scale = inputs(5, 40, 31)
    level, held = nested(pattern, values)
    leaves = [tensor.clone().requires_grad_() for tensor in (values, W_dec, bias, y, weights)]
    f = values.new_zeros(5, 40).index_put((pattern.row, pattern.index), leaves[0])
    masks = [torch.zeros(5, 40).double().index_put((pattern.row, pattern.index), held[m].double()) for m in range(3)]
    losses = [scale * (leaves[3] - (f * mask) @ leaves[1] - leaves[2]).pow(2).sum() for mask in masks]
    exact = 3 * sum(w * loss for w, loss in zip(leaves[4], losses, strict=True))

    values, pattern, level, weights, *rest, scale = single(
        device, values, pattern, level, weights, W_dec, bias, y, scale
    )
    mine = [tensor.clone().requires_grad_() for tensor in (values, *rest, weights)]
    loss, found, error = NestedReconstruction.apply(*mine, pattern, level, scale)
    assert not found.requires_grad and not error.requires_grad
    assert_near([found], [torch.stack(losses).detach()])
    assert_near(torch.autograd.grad(3 * loss, mine), torch.autograd.grad(exact, leaves))


def test_a_deferred_weight_gradient_is_the_one_that_is_written_out(implementation, device):
    values, pattern, level, weights, W_dec, bias, y, scale = single(device, *inputs(5, 40, 31))
    W_dec.requires_grad_()
    NestedReconstruction.apply(values, W_dec, bias, y, weights, pattern, level, scale)[0].backward()
    written, W_dec.grad = W_dec.grad, None
    with deferring() as gradients:
        NestedReconstruction.apply(values, W_dec, bias, y, weights, pattern, level, scale)[0].backward()
    (part,) = gradients.of(W_dec)
    assert W_dec.grad is None and isinstance(part, RowSum)
    assert part.whole(40).equal(written)
    # by chunks the sums may be taken in another order: fp32, five terms at most
    torch.testing.assert_close(torch.cat([*part.chunks(40, 7)]), written, rtol=1e-6, atol=1e-6)


def test_a_level_without_entries_has_the_loss_and_the_error_of_its_neighbours(implementation, device):
    """Levels 0 and 2 of 4 are empty: code 0 is the bias alone, code 2 is code 1."""
    values, pattern, _, weights, *rest = inputs(5, 40, 31, M=4)
    level = 1 + 2 * (pattern.index >= 20)
    exact = (values, pattern, level, weights, *rest)
    found = nested_loss(*single(device, *exact))
    assert_near(found, reference.nested_loss(*exact))
    *_, bias, y, scale = exact
    # fp32 sums of 155 squares
    assert found.losses[0].item() == pytest.approx(scale * (y - bias).pow(2).sum().item(), rel=1e-6)
    assert found.losses[2].equal(found.losses[1])


def test_a_row_without_features_is_its_bias_in_every_code(implementation, device):
    pattern = Pattern(torch.zeros(0, dtype=torch.int64), torch.zeros(3, dtype=torch.int64), 4)
    exact = (numbers(0), pattern, torch.zeros(0).long(), numbers(2), numbers(4, 3), numbers(3), numbers(2, 3), 1.0)
    assert_near(nested_loss(*single(device, *exact)), reference.nested_loss(*exact))


def test_the_same_inputs_give_the_same_bits(implementation, device):
    given = single(device, *inputs(97, 40, 31))
    for first, again in zip(nested_loss(*given), nested_loss(*given), strict=True):
        assert first.equal(again)


def test_every_output_is_written(implementation, device, monkeypatch):
    """Fresh memory full of NaN: what a kernel leaves unwritten would show."""

    def poisoned(fresh):
        def make(*args, **how):
            tensor = fresh(*args, **how)
            return tensor.fill_(float("nan")) if tensor.is_floating_point() else tensor

        return make

    for name in ("empty", "empty_like"):
        monkeypatch.setattr(torch, name, poisoned(getattr(torch, name)))
    for found in nested_loss(*single(device, *inputs(5, 40, 31))):
        assert found.isfinite().all()


def test_what_is_no_number_shows_in_the_row_it_is_in_and_in_no_other(implementation, device):
    """And in no code that does not hold it: the value is one of level 1 of 3, whose errors hold those of level 2."""
    values, pattern, level, *rest = inputs(5, 40, 31)
    entry = int(((pattern.row == 3) & (level == 1)).nonzero()[0])
    values[entry] = float("nan")
    found = nested_loss(*single(device, values, pattern, level, *rest))
    assert found.loss.isnan() and found.losses.isnan().tolist() == [False, True, True]
    assert found.error[3].isnan().all() and found.error[[0, 1, 2, 4]].isfinite().all()


def test_what_does_not_fit_is_refused(implementation, device):
    values, pattern, level, weights, W_dec, bias, y, scale = single(device, *inputs(3, 7, 5))
    with pytest.raises(ValueError, match="values, level, W_dec rows"):
        nested_loss(values[:-1], pattern, level[:-1], weights, W_dec, bias, y, scale)
    with pytest.raises(ValueError, match="values, level, W_dec rows"):
        nested_loss(values, pattern, level, weights, W_dec, bias, y[:-1], scale)
    with pytest.raises(ValueError, match="W_dec has strides"):
        nested_loss(values, pattern, level, weights, W_dec.t().contiguous().t(), bias, y, scale)


@pytest.mark.parametrize(("first", "last"), [(0, 3), (-1, 2)])
def test_a_level_without_a_weight_is_refused(implementation, device, first, last):
    values, pattern, level, weights, *rest = single(device, *inputs(3, 7, 5))
    level = level.clamp(1, 1)
    level[0], level[-1] = first, last
    with pytest.raises(ValueError, match=f"levels run from {first} to {last}, and there are 3 weights"):
        nested_loss(values, pattern, level, weights, *rest)
