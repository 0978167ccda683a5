import pytest
import torch
from patterns import numbers

from saelab.kernels.matching_pursuit import cpu, matching_pursuit, pursue

SIZES = [(1, 3, 1, 1), (5, 3, 6, 4), (97, 31, 40, 7), (20, 16, 130, 20)]  # rows, d, n, steps


def dictionary(n, d, seed=4):
    W = numbers(n, d, seed=seed)
    return W / W.norm(dim=1, keepdim=True)


def obtuse():
    """Two unit rows more than a right angle apart, and a row whose pursuit comes back to the first."""
    W = torch.tensor([[1.0, 0.0], [-0.6, 0.8]], dtype=torch.float64)
    return torch.tensor([[1.0, 1.0]], dtype=torch.float64), W


def test_steps_by_hand(implementation):
    a, taken = pursue(*obtuse(), 4)
    torch.testing.assert_close(a, torch.tensor([[1.0, 0.8, 0.48, 0.288]], dtype=torch.float64))
    assert taken.tolist() == [[0, 1, 0, 1]]


def test_what_is_taken_twice_is_added_up(implementation):
    values, pattern = matching_pursuit(*obtuse(), 4)
    torch.testing.assert_close(values, torch.tensor([1.48, 1.088], dtype=torch.float64))
    assert pattern.index.tolist() == [0, 1]
    assert pattern.offsets.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"tau": 0.7}, [1.0, 0.8]),  # what is left has lengths 1, 0.6, 0.36
        ({"tau": 0.5}, [1.48, 0.8]),
        ({"stop_at_repeat": True}, [1.48, 0.8]),
    ],
)
def test_a_pursuit_ends_early(implementation, settings, code):
    values, _ = matching_pursuit(*obtuse(), 9, **settings)
    torch.testing.assert_close(values, torch.tensor(code, dtype=torch.float64))


def test_a_row_along_which_nothing_points_has_an_empty_code(implementation):
    x = torch.tensor([[-1.0, -2.0], [0.0, 0.0], [2.0, 0.0]], dtype=torch.float64)
    values, pattern = matching_pursuit(x, torch.eye(2, dtype=torch.float64), 3)
    assert values.tolist() == [2.0]
    assert pattern.counts.tolist() == [0, 0, 1]


@pytest.mark.parametrize(("rows", "d", "n", "steps"), SIZES)
@pytest.mark.parametrize("settings", [{}, {"tau": 1.0}, {"stop_at_repeat": True}], ids=["steps", "tau", "repeat"])
@pytest.mark.parametrize("gram", [0, 8192], ids=["anew", "gram"])
def test_values_and_gradients_are_those_of_the_definition(rows, d, n, steps, settings, gram, monkeypatch):
    monkeypatch.setattr(cpu, "GRAM", gram)
    monkeypatch.setattr(cpu, "GRADIENT_BYTES", 3 * rows * d * 8)  # three steps at once
    x, W, upstream = numbers(rows, d), dictionary(n, d), numbers(rows, steps, seed=9)
    found = []
    for name in ("cpu", "reference"):
        monkeypatch.setenv("SAELAB_KERNELS", name)
        leaves = x.clone().requires_grad_(), W.clone().requires_grad_()
        a, taken = pursue(*leaves, steps, **settings)
        assert (a >= 0).all()
        found.append([a.detach(), torch.where(a > 0, taken, -1), *torch.autograd.grad((a * upstream).sum(), leaves)])
    torch.testing.assert_close(*found)


def test_the_definition_s_gradient_is_that_of_finite_differences(implementation):
    x, W = numbers(3, 5).requires_grad_(), dictionary(40, 5).requires_grad_()  # so many that every step finds one
    assert torch.autograd.gradcheck(lambda x, W: pursue(x, W, 4)[0], (x, W))


def test_what_is_left_is_orthogonal_to_what_was_taken_and_shrinks(implementation):
    x, W = numbers(97, 31).float(), dictionary(130, 31).float()
    a, taken = pursue(x, W, 20)
    r, length = x, x.norm(dim=1)
    for t in range(20):
        r = r - a[:, t : t + 1] * W[taken[:, t]]
        on = a[:, t] > 0
        assert (r * W[taken[:, t]]).sum(dim=1)[on].abs().max() <= 1e-5
        assert (r.norm(dim=1) <= length + 1e-5).all()  # a step takes a_t^2 off the square; fp32 rounds
        length = r.norm(dim=1)


def test_the_same_rows_in_smaller_parts_have_the_same_code(monkeypatch):
    x, W = numbers(97, 31), dictionary(130, 31)
    whole = matching_pursuit(x, W, 5)
    monkeypatch.setattr(cpu, "GRAM_BYTES", 10 * 130 * 8)
    parts = matching_pursuit(x, W, 5)
    torch.testing.assert_close(whole[0], parts[0])
    assert whole[1].index.equal(parts[1].index)
