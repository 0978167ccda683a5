"""The gradient's way from the store into a step, and what is said where there is none."""

import pytest
import torch

from saelab.errors import StoreMismatch
from saelab.store import gradient_of
from saelab.train import StoreRows, plan, train
from saelab.train.normalise import Normalisation

from .test_train_resume import Failing, only_weights, power_cut, weights
from .train_rows import OTHER, SITE, TOPK, artefacts, config, make_store

GSAE = {"variant": "gsae", "d_sae": 32, "k": 4}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A store without gradients."""
    return make_store(tmp_path_factory.mktemp("plain") / "store", gradients=False)


def test_a_gradient_is_divided_by_what_the_rows_are_multiplied_with():
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) * 5 + 1
    y = 2 * x[:, :2]
    n = Normalisation.of(x, y)

    def loss(y):
        return (y**3).sum()

    raw = y.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(raw), raw)
    batch = n.batch(x, y, gradient)
    normalised = batch.y.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(normalised / n.target_scale + n.target_centre), normalised)
    torch.testing.assert_close(batch.gradient, expected)
    assert n.batch(x, x).gradient is None


def test_a_step_sees_the_gradients_of_its_own_rows(store):
    with_slopes = next(StoreRows(store).batches([SITE, gradient_of(SITE)], 200, seed=3))
    mean = store.read(SITE).mean(dim=0)
    torch.testing.assert_close(with_slopes[gradient_of(SITE)], (with_slopes[SITE] - mean) / 100)


def test_it_trains_and_learns_another_dictionary_than_topk(store, tmp_path):
    ours, topk = train(config(store, tmp_path, [GSAE, TOPK], rows=20_000, train={"lr": 0.03}))
    assert ours.name == "gsae-32-k4"
    assert ours.fvu is not None
    assert ours.fvu < 0.2
    assert ours.fvu != topk.fvu


def test_beside_it_the_others_are_what_they_are_alone(store, tmp_path):
    _, topk = train(config(store, tmp_path / "together", [GSAE, TOPK]))
    (alone,) = train(config(store, tmp_path / "alone"))
    assert only_weights(artefacts(topk.path)) == only_weights(artefacts(alone.path))


def test_with_beta_0_it_needs_no_gradients_and_is_topk(store, plain, tmp_path):
    (ours,) = train(config(plain, tmp_path, {**GSAE, "beta": 0.0}))
    (topk,) = train(config(plain, tmp_path))
    for name in ("sae_weights.safetensors", "metrics.jsonl"):
        assert (ours.path / name).read_bytes() == (topk.path / name).read_bytes()


def test_a_store_without_gradients_is_refused_with_what_to_do(plain, tmp_path):
    words = rf"gsae selects features by the gradient(.|\n)*{SITE} come without(.|\n)*--set gradients=true"
    with pytest.raises(StoreMismatch, match=words):
        train(config(plain, tmp_path / "out", GSAE))
    with pytest.raises(StoreMismatch, match=words):
        plan(config(plain, tmp_path / "out", [TOPK, GSAE]))
    with pytest.raises(StoreMismatch, match=OTHER):
        train(config(plain, tmp_path / "out", GSAE, target=OTHER))
    assert not (tmp_path / "out").exists()


def test_a_dry_run_takes_it(store, tmp_path):
    assert plan(config(store, tmp_path, GSAE))["seconds"] > 0


def test_a_run_that_broke_off_ends_with_the_same_bits(store, tmp_path):
    cfg = config(store, tmp_path / "broken", [GSAE, {**TOPK, "name": "topk"}], save_minutes=0)
    with pytest.raises(OSError, match="power"):
        train(cfg, source=Failing(store, 7, power_cut))
    train(cfg)
    train(config(store, tmp_path / "whole", [GSAE, {**TOPK, "name": "topk"}]))
    assert weights(tmp_path / "broken") == weights(tmp_path / "whole")
