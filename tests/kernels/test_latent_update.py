import hypothesis
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from implementations import INTERPRETED, TRITON, device_of, needs_triton
from patterns import numbers, random_pattern

from saelab.kernels import csc
from saelab.kernels.backend import KernelError
from saelab.kernels.csc import Csc, reference
from saelab.kernels.deferred import Rows, RowSum, Whole
from saelab.kernels.latent_update import AdamStep, Moments, latent_update
from saelab.kernels.latent_update import reference as definition

# fp32 against fp64: sums of up to 130 terms whose rounding errors of 6e-8 add up like a random walk, with slack.
CLOSE = 2e-6
STEP = AdamStep(number=3, lr=0.01)
SHAPES = [(1, 1, 1), (3, 97, 31), (130, 3, 48), (97, 40, 130), (5, 3, 600)]  # rows, features, width
KINDS = ["", "sum", "rows", "whole", "sum rows whole", "sum sum", "rows rows", "whole sum whole rows sum"]


def part_of(kind, rows, n, d, seed):
    """A part of the gradient in fp64, and the whole of what it stands for."""
    if kind == "sum":  # of 130 rows feature 0 is active in 129: two pieces
        pattern = random_pattern(rows, n, seed)
        weight, table = numbers(len(pattern.index), seed=seed), numbers(rows, d, seed=seed + 1)
        whole = reference.rows_by_feature(weight, table, pattern.row, pattern.index, n)
        return RowSum(pattern.csc, weight, table), whole
    if kind == "rows":
        some = Rows(torch.arange(0, n, 3), numbers(-(-n // 3), d, seed=seed))
        return some, some.whole(n)
    whole = numbers(n, d, seed=seed)
    return Whole(whole), whole


def gradient_of(kinds, rows, n, d, seed=0):
    """Parts of these kinds in fp64, and their sum."""
    pairs = [part_of(kind, rows, n, d, seed + 10 * i) for i, kind in enumerate(kinds.split())]
    return [part for part, _ in pairs], sum((whole for _, whole in pairs), torch.zeros(n, d, dtype=torch.float64))


def single(part, device):
    """The same in fp32, on a device."""
    if isinstance(part, Whole):
        return Whole(part.gradient.float().to(device))
    if isinstance(part, Rows):
        return Rows(part.index.to(device), part.rows.float().to(device))
    moved = Csc(part.csc.order.to(device), part.csc.row.to(device), part.csc.offsets.to(device))
    return RowSum(moved, part.weight.float().to(device), part.rows.float().to(device))


def state(n, d):
    """Unit rows and moments that have seen a gradient, in fp64."""
    W = numbers(n, d, seed=7)
    return W / W.norm(dim=1, keepdim=True), 0.1 * numbers(n, d, seed=8), 0.1 + numbers(n, d, seed=9).square()


def updated(W, m, v, parts, adam, unit, device):
    """W and moments after a step in fp32, on the CPU again."""
    W, m, v = (tensor.float().to(device, copy=True) for tensor in (W, m, v))
    latent_update(W, Moments(m, v), [single(part, device) for part in parts], adam, unit)
    return W.cpu(), m.cpu(), v.cpu()


def defined(W, m, v, gradient, adam, unit):
    """The same by the definition, in fp64."""
    W, m, v = W.clone(), m.clone(), v.clone()
    definition.latent_update(W, m, v, [Whole(gradient)], adam, unit)
    return W, m, v


def assert_near(mine, theirs):
    for found, wanted in zip(mine, theirs, strict=True):
        assert (found.double() - wanted).norm() <= CLOSE * wanted.norm()


def test_one_feature_by_hand(implementation, device):
    W, m, v = torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2), torch.zeros(1, 2)
    adam = AdamStep(number=1, lr=0.75, beta1=0.5, beta2=0.75, eps=1e-30)  # with no eps the first step would be 0 / 0
    W, m, v = updated(W, m, v, [Whole(torch.tensor([[5.0, 2.0]]))], adam, True, device)
    # <g, w> w = (5, 0) goes, g = (0, 2); m = (0, 1), v = (0, 1)
    assert m.tolist() == v.tolist() == [[0.0, 1.0]]
    # m / (1 - beta1) = 2, v / (1 - beta2) = 4, so w = (1, -3/4), of length 5/4
    torch.testing.assert_close(W, torch.tensor([[0.8, -0.6]]), rtol=1e-6, atol=0)  # two divisions and a root


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("kinds", KINDS)
def test_every_combination_of_parts_takes_fp64_s_step(implementation, device, kinds, unit):
    parts, gradient = gradient_of(kinds, 130, 7, 31)
    assert_near(
        updated(*state(7, 31), parts, STEP, unit, device), defined(*state(7, 31), gradient, STEP, unit)
    )  # fmt: skip


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize(("rows", "n", "d"), SHAPES)
def test_odd_shapes_take_fp64_s_step(implementation, device, rows, n, d, unit):
    parts, gradient = gradient_of("sum rows whole", rows, n, d)
    assert_near(
        updated(*state(n, d), parts, STEP, unit, device), defined(*state(n, d), gradient, STEP, unit)
    )  # fmt: skip


@hypothesis.given(
    st.integers(1, 140),
    st.integers(1, 6),
    st.integers(1, 40),
    st.sampled_from(KINDS),
    st.booleans(),
    st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_any_shape(rows, n, d, kinds, unit, seed):
    name = "triton" if TRITON else "cpu"
    parts, gradient = gradient_of(kinds, rows, n, d, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAELAB_KERNELS", name)
        found = updated(*state(n, d), parts, STEP, unit, device_of(name))
    assert_near(found, defined(*state(n, d), gradient, STEP, unit))


def test_a_feature_active_in_every_row_is_summed_in_pieces_and_to_the_same(implementation, device):
    rows = 300  # three pieces of at most 128 entries
    pattern = csc.Pattern(torch.zeros(rows, dtype=torch.int64), torch.arange(rows + 1), 2)
    weight, table = numbers(rows), numbers(rows, 31, seed=2)
    gradient = torch.stack([weight @ table, torch.zeros(31, dtype=torch.float64)])
    found = updated(*state(2, 31), [RowSum(pattern.csc, weight, table)], STEP, False, device)
    assert_near(found, defined(*state(2, 31), gradient, STEP, False))


@pytest.mark.parametrize("kinds", ["", "sum rows"])
def test_a_feature_that_never_fires_still_takes_its_step(implementation, device, kinds):
    parts, _ = gradient_of(kinds, 5, 3, 4)  # of the pattern's and the rows' features the last is none
    W, m, v = state(3, 4)
    found = updated(W, m, v, parts, STEP, False, device)
    mean, square = 0.9 * m[2], 0.999 * v[2]
    step = STEP.lr * (mean / (1 - 0.9**3)) / ((square / (1 - 0.999**3)).sqrt() + STEP.eps)
    assert_near([tensor[2] for tensor in found], (W[2] - step, mean, square))


@pytest.mark.parametrize("unit", [False, True])
def test_ten_steps_are_those_of_torch_s_adam(implementation, device, unit):
    W = state(7, 31)[0]
    exact = W.clone().requires_grad_()
    adam = torch.optim.Adam([exact], lr=0.01)
    mine = (W.float().to(device), *(torch.zeros(7, 31, device=device) for _ in range(2)))
    for number in range(1, 11):
        parts, gradient = gradient_of("sum rows", 130, 7, 31, seed=number)
        if unit:
            gradient = gradient - (gradient * exact.detach()).sum(dim=1, keepdim=True) * exact.detach()
        exact.grad = gradient
        adam.step()
        if unit:
            exact.data.div_(exact.data.norm(dim=1, keepdim=True))
        moments = Moments(mine[1], mine[2])
        latent_update(mine[0], moments, [single(part, device) for part in parts], AdamStep(number, 0.01), unit)
    moments = adam.state[exact]
    # ten times the rounding of one step, as `unit` makes each step's gradient depend on the weights of the one before
    for found, wanted in zip(mine, (exact.detach(), moments["exp_avg"], moments["exp_avg_sq"]), strict=True):
        assert (found.cpu().double() - wanted).norm() <= 10 * CLOSE * wanted.norm()


def test_the_same_inputs_give_the_same_bits(implementation, device):
    parts, _ = gradient_of("sum sum rows whole", 300, 7, 31)
    runs = [updated(*state(7, 31), parts, STEP, True, device) for _ in range(2)]
    assert all(first.equal(again) for first, again in zip(*runs, strict=True))


def test_nothing_is_read_that_was_not_written(implementation, device, monkeypatch):
    """Fresh memory full of NaN: what is read before it is written would show."""
    fresh = torch.empty

    def poisoned(*shape, **how):
        tensor = fresh(*shape, **how)
        return tensor.fill_(float("nan")) if tensor.is_floating_point() else tensor

    parts, _ = gradient_of("sum sum rows whole", 300, 7, 31)
    monkeypatch.setattr(torch, "empty", poisoned)
    assert all(tensor.isfinite().all() for tensor in updated(*state(7, 31), parts, STEP, True, device))


def test_what_is_no_number_shows_in_the_feature_it_is_in_and_in_no_other(implementation, device):
    parts, _ = gradient_of("whole", 5, 7, 31)
    parts[0].gradient[3, 7] = float("nan")
    W, *_ = updated(*state(7, 31), parts, STEP, False, device)
    assert W.isnan().nonzero().tolist() == [[3, 7]]
    W, *_ = updated(*state(7, 31), parts, STEP, True, device)
    assert W[3].isnan().all() and W[[0, 1, 2, 4, 5, 6]].isfinite().all()


def test_bf16_weights_are_stepped_in_fp32(implementation, device):
    if implementation != "triton":
        pytest.skip("the PyTorch paths compute in the dtype of the weights")
    parts, gradient = gradient_of("sum", 5, 7, 31)
    rounded = [tensor.bfloat16() for tensor in state(7, 31)]
    W, m, v = (tensor.to(device, copy=True) for tensor in rounded)
    latent_update(W, Moments(m, v), [single(part, device) for part in parts], STEP, False)
    exact = defined(*(tensor.double() for tensor in rounded), gradient, STEP, False)
    for found, wanted in zip((W, m, v), exact, strict=True):
        # storing rounds by 2^-8 of the number at most, and the interpreter, which cuts off, by 2^-7
        assert ((found.cpu().double() - wanted).abs() <= 2**-7 * wanted.abs() + 1e-7).all()


@pytest.mark.parametrize("name", ["W", "moments.first", "moments.second"])
def test_other_layouts_are_refused(implementation, device, name):
    given = {key: torch.zeros(3, 4, device=device) for key in ("W", "moments.first", "moments.second")}
    given[name] = torch.zeros(4, 3, device=device).t()
    W, m, v = given.values()
    with pytest.raises(ValueError, match=f"{name} has .* contiguous"):
        latent_update(W, Moments(m, v), [], STEP, False)


@needs_triton
class TestTriton:
    """What is Triton's alone: its limits, and addresses past 2^31."""

    @pytest.fixture(autouse=True)
    def _triton(self, monkeypatch):
        monkeypatch.setenv("SAELAB_KERNELS", "triton")

    @pytest.mark.parametrize("kind", ["sum", "rows", "whole"])
    def test_parts_unlike_the_weights_are_refused(self, kind):
        device = device_of("triton")
        W, m, v = (tensor.float().to(device) for tensor in state(3, 4))
        parts, _ = gradient_of(kind, 5, 3, 5)
        with pytest.raises(ValueError, match="of the gradient"):
            latent_update(W, Moments(m, v), [single(part, device) for part in parts], STEP, False)

    def test_rows_too_wide_for_a_program_are_refused_and_the_way_out_is_said(self):
        W = torch.zeros(1, 16385, device=device_of("triton"))
        with pytest.raises(KernelError, match="(?s)16385.*16384.*fix: "):
            latent_update(W, Moments(W, W), [], STEP, False)

    @pytest.mark.parametrize("d", [5000, 16384])
    def test_wide_rows_take_fp64_s_step(self, d):
        parts, gradient = gradient_of("sum whole", 3, 1, d)
        found = updated(*state(1, d), parts, STEP, True, device_of("triton"))
        assert_near(found, defined(*state(1, d), gradient, STEP, True))

    def test_rows_past_2_to_the_31_are_found(self):
        rows, d, device = 2**31 // 16384 + 2, 16384, device_of("triton")
        table = torch.empty(rows, d, dtype=torch.float16, device=device)  # on a CPU only what is touched is real
        table[-1] = 1.0
        pattern = csc.Pattern(torch.zeros(1, dtype=torch.int64), torch.tensor([0] * rows + [1]), 1)
        part = RowSum(
            single(RowSum(pattern.csc, torch.ones(1), table[:1]), device).csc, torch.ones(1).to(device), table
        )
        W, m, v = (torch.zeros(1, d, device=device) for _ in range(3))
        latent_update(W, Moments(m, v), [part], STEP, False)
        torch.testing.assert_close(m, torch.full_like(m, 0.1))

    @pytest.mark.skipif(not INTERPRETED, reason="only the interpreter can run one program out of 131,074")
    def test_features_past_2_to_the_31_are_found(self, monkeypatch):
        from triton.runtime.interpreter import interpreter_builder

        from saelab.kernels.latent_update import fused

        n, d = 2**31 // 16384 + 2, 16384
        W, m, v = (torch.empty(n, d, dtype=torch.float16) for _ in range(3))  # only what is touched is real
        W[-1], m[-1], v[-1] = 3.0, 0.0, 1.0
        last = lambda *_: setattr(interpreter_builder, "grid_idx", (n - 1, 0, 0))  # noqa: E731
        monkeypatch.setattr(interpreter_builder, "set_grid_idx", last)
        fused._update[(1,)](
            W, m, v, **fused._by_kind([], n, d), **fused._scalars(AdamStep(1, 1.0, eps=0.0)), d=d, UNIT=True,
            PIECE=1, ENTRIES=1, BLOCK_D=d,
        )  # fmt: skip
        assert (W[-1] == 1 / 128).all()  # 3 in every coordinate, of unit length
