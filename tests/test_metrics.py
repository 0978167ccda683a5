import math

import pytest
import torch

from saelab import metrics


def test_fvu_is_the_error_over_the_variance_about_the_mean():
    x = torch.tensor([[0.0, 0.0], [2.0, 0.0]])  # variance about the mean row (1, 0): 1 + 1
    x_hat = torch.tensor([[0.0, 1.0], [2.0, 0.0]])  # error: 1
    assert metrics.fvu(x, x_hat) == pytest.approx(0.5)


def test_the_mean_row_explains_nothing():
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    assert metrics.fvu(x, x.mean(dim=0).expand_as(x)) == pytest.approx(1.0)


def test_fvu_does_not_depend_on_how_the_sample_is_cut():
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.randn(100, 4, generator=generator) + 5, torch.randn(100, 4, generator=generator)
    whole, pieces = metrics.Reconstruction.of(x, x + noise), metrics.Reconstruction()
    for rows in torch.arange(100).split(7):
        pieces.add(x[rows], (x + noise)[rows])
    assert (pieces.fvu, pieces.mse, pieces.cosine) == pytest.approx((whole.fvu, whole.mse, whole.cosine), rel=1e-12)


def test_recovered_is_one_for_the_clean_loss_and_zero_for_the_ablated():
    assert metrics.recovered(clean=2.0, spliced=2.0, ablated=6.0) == 1.0
    assert metrics.recovered(clean=2.0, spliced=6.0, ablated=6.0) == 0.0
    assert metrics.recovered(clean=2.0, spliced=3.0, ablated=6.0) == 0.75


def test_kl_of_a_coin_against_a_biased_one():
    fair, biased = torch.tensor([0.0, 0.0]), torch.tensor([math.log(3.0), 0.0])
    assert metrics.kl_divergence(fair, biased).item() == pytest.approx(0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(2))
    assert metrics.kl_divergence(fair, fair).item() == 0.0


def test_density_and_dead_share_count_tokens_and_features():
    fired = torch.tensor([0, 5, 10, 0])
    assert metrics.density(fired, 10).tolist() == [0.0, 0.5, 1.0, 0.0]
    assert metrics.dead_share(fired) == 0.5


def test_eps_lbo_is_the_cosine_of_two_features_that_are_active_alike():
    cosine = 0.28
    W = torch.tensor([[1.0, 0.0], [cosine, 0.96]])  # |x|^2 = 2 + 2 cosine, |f|^2 = 2
    assert metrics.eps_lbo(W.sum(dim=0, keepdim=True), torch.ones(1, 2), d_sae=2) == pytest.approx(cosine)


def test_eps_lbo_compares_squared_lengths_and_leaves_rows_without_a_code_out():
    x = torch.tensor([[3.0, 4.0], [3.0, 4.0], [1.0, 0.0]])
    f = torch.tensor([[5.0, 0.0], [4.0, 0.0], [0.0, 0.0]])
    assert metrics.eps_lbo(x, f, d_sae=4) == pytest.approx((0 + (25 - 16) / (3 * 16)) / 2)
    assert math.isnan(metrics.eps_lbo(x[2:], f[2:], d_sae=4))


def test_f1_is_the_harmonic_mean():
    assert metrics.f1(true_positive=6.0, false_positive=2.0, false_negative=4.0) == pytest.approx(2 * 0.75 * 0.6 / 1.35)
    assert metrics.f1(0.0, 0.0, 5.0) == 0.0
