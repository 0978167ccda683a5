"""The weight of a penalty, changed until the number of active features is the one asked for."""

import math
from typing import Any

import pytest
import torch

from saelab.contracts import Batch
from saelab.errors import ConfigError
from saelab.sae import SAE, VARIANTS, sae_config
from saelab.sae.target_l0 import TargetL0


def relu(**more: Any) -> Any:
    cfg = sae_config({"variant": "relu", "d_in": 16, "d_sae": 40, "warmup": 0, **more})
    return VARIANTS["relu"](cfg, torch.Generator().manual_seed(0))


def step(sae: SAE, optimiser: torch.optim.Optimizer, number: int) -> None:
    x = torch.randn(64, 16, generator=torch.Generator().manual_seed(number))
    torch.stack(list(sae.loss_terms(Batch(x, x), number).values())).sum().backward()
    optimiser.step()
    optimiser.zero_grad()
    sae.after_step(number)


def test_the_weight_rises_by_the_distance_times_the_rate():
    target = TargetL0(8.0, start=0.5)
    target.observe(torch.tensor(8.0 * math.e**0.5), total_steps=3000)  # rate 30 / 3000
    assert target.weight.item() == pytest.approx(0.5 * math.exp(0.005))
    target.observe(torch.tensor(8.0 * math.e**-0.5), total_steps=3000)
    assert target.weight.item() == pytest.approx(0.5)


def test_no_step_is_larger_than_the_rate_and_short_runs_have_the_largest():
    target = TargetL0(8.0, start=0.5)
    target.observe(torch.tensor(800.0), total_steps=10)
    assert target.weight.item() == pytest.approx(0.5 * math.exp(0.02))
    target.observe(torch.tensor(0.0), total_steps=10)
    assert target.weight.item() == pytest.approx(0.5)


def test_in_evaluation_it_stays():
    target = TargetL0(8.0, start=0.5).eval()
    target.observe(torch.tensor(800.0), total_steps=10)
    assert target.weight == 0.5


def test_l0_ends_where_it_is_wanted():
    sae = relu(target_l0=3.0)
    sae.total_steps = 600
    optimiser = torch.optim.Adam(sae.parameters(), lr=1e-2)
    for number in range(600):
        step(sae, optimiser, number)
    x = torch.randn(2000, 16, generator=torch.Generator().manual_seed(999))
    assert sae.eval().encode_sparse(x).l0.float().mean().item() == pytest.approx(3.0, rel=0.1)


def test_a_run_taken_up_again_goes_on_with_the_same_weight():
    def run(parts: tuple[range, ...]) -> Any:
        saved, moments = None, None
        for part in parts:
            sae = relu(target_l0=3.0)
            sae.total_steps = 20
            optimiser = torch.optim.Adam(sae.parameters(), lr=1e-2)
            if saved is not None:
                sae.load_state_dict(saved)
                optimiser.load_state_dict(moments)
            for number in part:
                step(sae, optimiser, number)
            saved, moments = sae.state_dict(), optimiser.state_dict()
        return saved

    whole, halves = run((range(20),)), run((range(10), range(10, 20)))
    assert whole["target.weight"] != 0.1
    assert all(tensor.equal(halves[name]) for name, tensor in whole.items())


def test_without_a_target_there_is_no_state_of_it():
    assert "target.weight" not in relu().state_dict()


def test_a_weight_of_zero_cannot_be_changed_by_a_factor():
    with pytest.raises(ConfigError, match=r"target_l0 = 3 is reached by changing l1, and l1 = 0 stays 0; leave l1 out"):
        relu(target_l0=3.0, l1=0)
    with pytest.raises(ConfigError, match="leave l0 out"):
        sae_config({"variant": "jumprelu", "d_in": 4, "d_sae": 8, "target_l0": 3.0, "penalty": "tanh", "l0": 0})
