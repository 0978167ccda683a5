import pytest
import torch
from patterns import numbers

from saelab.kernels.auxk import auxk_loss, reference
from saelab.kernels.deferred import Rows, deferring

SIZES = [(1, 3, 4, 5, 2), (5, 3, 4, 6, 2), (97, 31, 48, 40, 7), (64, 16, 16, 130, 200)]  # rows, d_in, d_out, d_sae, k
# fp32 against fp64: two products in a row, of up to 130 terms rounded by 6e-8 each, as a random walk, with slack
CLOSE = 1e-5


def inputs(rows, d_in, d_out, d_sae):
    """fp64 x, centre, error, W_enc, b_enc, W_dec; every other feature is dead."""
    weights = numbers(d_sae, d_in, seed=4).t(), numbers(d_sae, seed=5), numbers(d_sae, d_out, seed=6)
    dead = torch.arange(d_sae) % 2 == 0
    return numbers(rows, d_in, seed=1), numbers(d_in, seed=2), numbers(rows, d_out, seed=3), *weights, dead


def loss_and_gradients(x, centre, error, W_enc, b_enc, W_dec, dead, k):
    """Times 3, so that a gradient that ignores what comes from above shows."""
    leaves = [tensor.clone().requires_grad_() for tensor in (W_enc, b_enc, W_dec)]
    loss = 3 * auxk_loss(x, centre, error, -0.7, *leaves, dead, k)
    return loss.detach(), *torch.autograd.grad(loss, leaves)


@pytest.mark.parametrize(("rows", "d_in", "d_out", "d_sae", "k"), SIZES)
def test_loss_and_gradients_are_those_of_fp64_autograd(implementation, device, rows, d_in, d_out, d_sae, k):
    exact = inputs(rows, d_in, d_out, d_sae)
    given = [tensor.to(device, torch.float32 if tensor.is_floating_point() else None) for tensor in exact]
    x, centre, error, *weights, dead = exact
    leaves = [tensor.clone().requires_grad_() for tensor in weights]
    index = dead.nonzero().squeeze(1)
    loss = 3 * reference.auxk_loss(x - centre, -0.7 * error, *leaves, index, k)
    wanted = loss.detach(), *torch.autograd.grad(loss, leaves)
    for mine, theirs in zip(loss_and_gradients(*given, k), wanted, strict=True):
        assert (mine.cpu().double() - theirs).norm() <= CLOSE * theirs.norm()


def test_dead_features_get_a_gradient_in_encoder_and_decoder_and_living_ones_none(implementation, device):
    x, centre, error, W_enc, b_enc, W_dec, dead = (t.to(device) for t in inputs(97, 31, 48, 40))
    _, d_W_enc, d_b_enc, d_W_dec = loss_and_gradients(x, centre, error, W_enc, b_enc, W_dec, dead, 20)
    for by_feature in (d_W_enc.t().abs().sum(dim=1), d_b_enc.abs(), d_W_dec.abs().sum(dim=1)):
        assert (by_feature[dead] > 0).all()
        assert (by_feature[~dead] == 0).all()


def test_it_is_one_dense_decode_of_the_k_largest_dead_features(implementation):
    x, centre, e, W_enc, b_enc, W_dec, dead = inputs(5, 3, 4, 6)
    f = torch.relu((x - centre) @ W_enc + b_enc)[:, dead]
    f = torch.where(f >= f.topk(2).values[:, 1:], f, 0)
    want = (e - f @ W_dec[dead]).square().sum() / (e - e.mean(0)).square().sum()
    torch.testing.assert_close(auxk_loss(x, centre, e, 1.0, W_enc, b_enc, W_dec, dead, 2), want)


def test_a_residual_that_does_not_vary_costs_nothing(implementation):
    x, centre, e, *weights, dead = inputs(5, 3, 4, 6)
    assert auxk_loss(x[:1], centre, e[:1], 1.0, *weights, dead, 2) == 0
    assert auxk_loss(x, centre, e[:1].expand(5, -1).contiguous(), 1.0, *weights, dead, 2) == 0


def test_deferred_gradients_are_rows_of_the_dead_features():
    x, centre, error, W_enc, b_enc, W_dec, dead = inputs(97, 31, 48, 40)
    _, d_W_enc, _, d_W_dec = loss_and_gradients(x, centre, error, W_enc, b_enc, W_dec, dead, 7)
    W_enc, W_dec = W_enc.clone().requires_grad_(), W_dec.clone().requires_grad_()
    with deferring() as deferred:
        (3 * auxk_loss(x, centre, error, -0.7, W_enc, b_enc, W_dec, dead, 7)).backward()
    for W, wanted in ((W_enc.t(), d_W_enc.t()), (W_dec, d_W_dec)):
        (part,) = deferred.of(W)
        assert isinstance(part, Rows)
        assert len(part.rows) == dead.sum()
        torch.testing.assert_close(part.whole(len(W)), wanted)
    assert W_enc.grad is None and W_dec.grad is None
