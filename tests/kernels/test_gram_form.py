"""The squared length of sums of products, against the sums themselves written out."""

import pytest
import torch
from patterns import numbers

from saelab.kernels.gram_form import cpu, gram_form

SIZES = [(1, 1, 1), (3, 97, 5), (97, 3, 31), (5, 130, 7)]  # rows, latents, width
# fp64 sums of up to 130 x 130 terms, in another order
CLOSE = 1e-11


def inputs(rows, n, d):
    return numbers(rows, n, seed=1), numbers(n, d, seed=2), numbers(n, d, seed=3)


def written_out(g, left, right):
    """Of every row and every prefix of the latents, |sum_j g_j l_j r_j^T|^2, [rows, n]."""
    products = torch.einsum("bn,nd,ne->bnde", g, left, right)
    return products.cumsum(dim=1).square().sum(dim=(2, 3))


def descending(n):
    return torch.arange(n, 0, -1).double() / n


@pytest.fixture(params=["reference", "cpu"])
def op(request, monkeypatch):
    """Everything in the test runs on this implementation, in small tiles."""
    monkeypatch.setenv("SAELAB_KERNELS", request.param)
    monkeypatch.setattr(cpu, "TILE", 32)


@pytest.mark.parametrize(("rows", "n", "d"), SIZES)
def test_it_is_the_squared_length_of_the_sums(op, rows, n, d):
    g, left, right = inputs(rows, n, d)
    wanted = written_out(g, left, right)[:, -1].sum()
    torch.testing.assert_close(gram_form(g, left, right), wanted, rtol=CLOSE, atol=0)


@pytest.mark.parametrize(("rows", "n", "d"), SIZES)
def test_weighted_it_is_the_mean_over_all_prefixes(op, rows, n, d):
    g, left, right = inputs(rows, n, d)
    wanted = written_out(g, left, right).mean(dim=1).sum()
    torch.testing.assert_close(gram_form(g, left, right, descending(n)), wanted, rtol=CLOSE, atol=0)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("rows", "n", "d"), SIZES)
def test_gradients_are_those_of_the_sums(op, rows, n, d, weighted):
    """Times 3, so that a gradient that ignores what comes from above shows."""
    leaves = [tensor.requires_grad_() for tensor in inputs(rows, n, d)]
    sums = written_out(*leaves)
    wanted = torch.autograd.grad(3 * (sums.mean(dim=1) if weighted else sums[:, -1]).sum(), leaves)
    found = torch.autograd.grad(3 * gram_form(*leaves, descending(n) if weighted else None), leaves)
    for mine, theirs in zip(found, wanted, strict=True):
        assert (mine - theirs).norm() <= CLOSE * theirs.norm()


def test_tiles_off_the_diagonal_count_twice(monkeypatch):
    """Two latents that are one and the same: |g_1 + g_2|^2 = 4 + 9 + 2 * 6, where twice the diagonal would be 32."""
    monkeypatch.setattr(cpu, "TILE", 1)
    g, same = torch.tensor([[2.0, 3.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert gram_form(g, same, same) == 25


def test_without_gradients_none_are_made():
    g, left, right = inputs(3, 97, 5)
    with torch.no_grad():
        assert not gram_form(g, left.requires_grad_(), right).requires_grad
    assert gram_form(g, left, right).requires_grad
