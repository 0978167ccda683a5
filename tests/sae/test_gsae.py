"""Gradient SAE: what decides is how much a feature matters, what is kept is its activation."""

import math
from typing import Any

import pytest
import torch

from saelab.config import load_settings
from saelab.contracts import Batch
from saelab.errors import ConfigError
from saelab.sae import VARIANTS, sae_config
from saelab.train import OptimiserConfig, TrainConfig
from saelab.train.optimise import Optimiser

X = torch.tensor([[3.0, 2.0]])
NORTH = torch.tensor([[0.0, 5.0]])  # of what the loss is the gradient: moving north raises it, moving east does not
MEAN = math.sqrt(1 / math.pi)  # sqrt(2 / (pi d)): what |cos| of a random direction is on average, for large d


def compass(**settings) -> Any:
    """Features east, north and west, read and written as they are; one is kept."""
    sae: Any = VARIANTS["gsae"](sae_config({"variant": "gsae", "d_in": 2, "d_sae": 3, "k": 1, **settings}))
    axes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    with torch.no_grad():
        sae.W_dec.copy_(axes)
        sae.W_enc.copy_(axes.t())
    return sae


def kept(sae, gradient, x=X):
    return sae.guided(Batch(x, x, gradient)).dense().tolist()


def test_the_feature_that_matters_is_kept_at_its_own_activation():
    assert kept(compass(), NORTH) == [[0.0, 2.0, 0.0]]
    assert kept(compass(), NORTH.flip(1)) == [[3.0, 0.0, 0.0]]


def test_a_sum_weighs_influence_against_activation():
    # a = (0, 1 / MEAN) in units of the mean: north wins where 2 (1 + beta / MEAN) > 3
    tie = MEAN / 2
    assert kept(compass(beta=0.99 * tie), NORTH) == [[3.0, 0.0, 0.0]]
    assert kept(compass(beta=1.01 * tie), NORTH) == [[0.0, 2.0, 0.0]]


def test_a_product_asks_for_both():
    sae = compass(grad_mix="product", k=2)
    assert kept(sae, NORTH) == [[0.0, 2.0, 0.0]]  # what does not matter at all is not kept
    assert kept(compass(grad_mix="product", beta=0.5), torch.tensor([[1.0, 2.0]])) == [[3.0, 0.0, 0.0]]  # 3 > 2 sqrt 2
    assert kept(compass(grad_mix="product", beta=1.0), torch.tensor([[1.0, 2.0]])) == [[0.0, 2.0, 0.0]]  # 3 < 4


@pytest.mark.parametrize("mix", ["add", "product"])
def test_a_row_without_influence_goes_by_its_activations(mix):
    both = torch.cat([X, X])
    assert kept(compass(grad_mix=mix), torch.cat([NORTH, 0 * NORTH]), both) == [[0.0, 2.0, 0.0], [3.0, 0.0, 0.0]]
    assert kept(compass(grad_mix=mix), 0 * both, both) == [[3.0, 0.0, 0.0]] * 2


def test_the_unit_of_the_gradient_does_not_matter():
    sae, x = compass(), torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    g = torch.randn(50, 2, generator=torch.Generator().manual_seed(1))
    assert kept(sae, 1e-6 * g, x) == kept(sae, g, x) == kept(sae, -g, x)


def test_inference_is_plain_top_k():
    assert compass().eval().encode(X).tolist() == [[3.0, 0.0, 0.0]]
    assert compass().encode(X).tolist() == [[3.0, 0.0, 0.0]]


def test_a_batch_without_gradient_is_refused_unless_beta_is_0():
    with pytest.raises(ConfigError, match=r"beta = 1 selects by the gradient(.|\n)*gradients: true; or beta = 0"):
        compass().loss_terms(Batch(X, X), 0)
    assert compass(beta=0.0).loss_terms(Batch(X, X), 0)["reconstruction"].item() == pytest.approx(2**2 / 2)


@pytest.mark.parametrize("mix", ["add", "product"])
@pytest.mark.parametrize("fused", [True, False])
def test_beta_0_is_topk_to_the_bit(fused, mix):
    cfg = OptimiserConfig.model_validate({"lr": 1e-3, "clip": None if fused else 1e9})
    losses, weights = [], []
    for own in ({"variant": "topk"}, {"variant": "gsae", "beta": 0.0, "grad_mix": mix}):
        sae = VARIANTS[own["variant"]](
            sae_config({"d_in": 8, "d_sae": 64, "k": 4, **own}), torch.Generator().manual_seed(0)
        )
        sae.dead_after, optimiser = 300, Optimiser(sae, cfg)
        losses.append([])
        for step in range(20):
            x = torch.randn(64, 8, generator=torch.Generator().manual_seed(step))
            with optimiser.gradients():
                loss = torch.stack(list(sae.loss_terms(Batch(x, x, -x), step).values())).sum()
                loss.backward()
            optimiser.step(1e-3, step)
            losses[-1].append(loss.item())
        weights.append(list(sae.parameters()))
    assert losses[0] == losses[1]
    assert all(a.equal(b) for a, b in zip(*weights, strict=True))


def test_no_gradient_flows_through_the_score():
    sae = compass()
    sae.loss_terms(Batch(X, X, NORTH), 0)["reconstruction"].backward()
    # the code is (0, 2, 0): the error (3, 0) is orthogonal to north, so only W_dec's row of north moves, to the east
    assert sae.W_dec.grad.nonzero().tolist() == [[1, 0]]


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="beta"):
        compass(beta=-1.0)
    with pytest.raises(ConfigError, match="grad_mix = 'sum'"):
        compass(grad_mix="sum")


def test_the_preset_trains_on_the_store_of_the_harvest_preset():
    from pathlib import Path

    from saelab.harvest import HarvestConfig

    configs = Path(__file__).resolve().parents[2] / "configs"
    harvest = load_settings(HarvestConfig, configs / "harvest" / "pico-gradients.yaml")
    train = load_settings(TrainConfig, configs / "train" / "pico-gsae.yaml")
    assert harvest.gradients
    assert harvest.out == train.store
