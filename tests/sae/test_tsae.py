"""TSAE: a JumpReLU with one threshold for all features."""

import pytest
import torch

from saelab.contracts import Batch
from saelab.sae import VARIANTS, sae_config


def build(**more):
    cfg = sae_config({"variant": "tsae", "d_in": 4, "d_sae": 3, "initial_threshold": 0.5, **more})
    sae = VARIANTS["tsae"](cfg, torch.Generator().manual_seed(0))
    with torch.no_grad():
        sae.W_dec.copy_(torch.eye(4)[:3])
        sae.W_enc.copy_(sae.W_dec.t())
    return sae


X = torch.tensor([[2.0, 1.0, 0.4, 0.0]])


def test_one_threshold_serves_all_features():
    sae = build()
    assert sae.log_threshold.shape == ()
    assert sae.threshold.tolist() == [0.5, 0.5, 0.5]
    assert sae.encode(X).tolist() == [[2.0, 1.0, 0.0]]


def test_its_gradient_is_the_sum_over_all_features():
    shared, own = build(bandwidth=4.0), build(bandwidth=4.0, shared=False)
    for sae in (shared, own):
        torch.stack(list(sae.loss_terms(Batch(X, X + 0.3), 0).values())).sum().backward()
    assert own.log_threshold.shape == (3,)
    torch.testing.assert_close(shared.log_threshold.grad, own.log_threshold.grad.sum())


def test_the_checkpoint_states_it_for_every_feature():
    assert build().exported()["threshold"].tolist() == [0.5, 0.5, 0.5]


def test_l1_is_the_relu_variant_s():
    terms = build(penalty="l1", l0=0.1).loss_terms(Batch(X, X), 0)
    assert terms["l1"].item() == pytest.approx(0.1 * 3 / 4**0.5)
