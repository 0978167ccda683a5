"""JumpReLU: the gradients of its thresholds, its two penalties, and what revives dead features."""

from typing import Any

import pytest
import torch

from saelab.contracts import Batch
from saelab.sae import VARIANTS, sae_config

ROWS, D, D_SAE = 100_000, 6, 10


def build(d_in: int = D, d_sae: int = D_SAE, variant: str = "jumprelu", **more: Any) -> Any:
    cfg = sae_config({"variant": variant, "d_in": d_in, "d_sae": d_sae, **more})
    return VARIANTS[variant](cfg, torch.Generator().manual_seed(0))


def random_rows(n: int, d: int = D) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(1))


def on_for_certain(**more: Any) -> Any:
    """Features that look east, north and west, on above 0.1."""
    sae = build(2, 3, initial_threshold=0.1, **more)
    with torch.no_grad():
        sae.W_dec.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
        sae.W_enc.copy_(sae.W_dec.t())
    return sae


def loss_of(sae: Any, x: torch.Tensor) -> torch.Tensor:
    terms = sae.loss_terms(Batch(x, x), 0)
    return torch.stack(list(terms.values())).sum()


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize(
    "penalty", [{"l0": 0.3}, {"target_l0": 1.0}, {"penalty": "tanh", "l0": 0.3}], ids=["l0", "target", "tanh"]
)
def test_the_threshold_s_gradient_is_that_of_the_smoothed_loss(penalty, sparse, monkeypatch):
    """Smoothed over a width of eps, a loss's derivative is (loss(theta + eps/2) - loss(theta - eps/2)) / eps."""
    sae, x, eps = build(bandwidth=0.1, **penalty).double(), random_rows(ROWS).double(), 0.1
    monkeypatch.setattr(sae, "_is_dense", lambda _: not sparse)
    loss_of(sae, x).backward()
    for i in range(0, D_SAE, 3):
        ends = []
        for side in (-eps / 2, eps / 2):
            theta = sae.threshold.detach().clone()
            theta[i] += side
            with torch.no_grad():
                other = build(bandwidth=0.1, **penalty).double()
                other.log_threshold.copy_(theta.log())
                ends.append(loss_of(other, x).item())
        smoothed = (ends[1] - ends[0]) / eps * sae.threshold[i].item()  # theta = exp(log theta)
        # some 2,000 rows lie in the window
        assert sae.log_threshold.grad[i].item() == pytest.approx(smoothed, rel=0.05)


def test_tanh_counts_a_feature_by_how_strongly_it_is_on():
    x = torch.tensor([[3.0, 0.25]])
    terms = on_for_certain(penalty="tanh", l0=0.5).loss_terms(Batch(x, x), 0)
    assert terms["tanh"].item() == pytest.approx(0.5 * (torch.tensor(12.0).tanh() + torch.tensor(1.0).tanh()).item())


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_what_revives_dead_features_is_the_mean_over_all_rows_without_forming_it(sparse, monkeypatch):
    sae, x = build(penalty="tanh", pre_act=0.7).double(), random_rows(97).double() + 0.3
    monkeypatch.setattr(sae, "_is_dense", lambda _: not sparse)
    sae.tokens_since_fired[:4], sae.dead_after = 1000, 100
    sae.b_enc.detach()[:3].sub_(5.0)  # the fourth fires, so it is dead no more
    parameters = list(sae.parameters())
    dense = torch.relu(sae.threshold - ((x - sae.b_dec) @ sae.W_enc + sae.b_enc))[:, :3].sum(dim=1).mean()
    wanted = 0.7 * dense, torch.autograd.grad(0.7 * dense, parameters, allow_unused=True)
    term = sae.loss_terms(Batch(x, x), 0)["pre_act"]
    found = term, torch.autograd.grad(term, parameters, allow_unused=True)
    torch.testing.assert_close(found[0], wanted[0])
    for mine, theirs in zip(found[1], wanted[1], strict=True):
        torch.testing.assert_close(*(torch.zeros(()).double() if one is None else one for one in (mine, theirs)))


def test_dead_features_are_pulled_until_they_fire():
    never = []
    for pre_act in (0.0, 3e-6):
        sae, x = build(penalty="tanh", pre_act=pre_act, l0=1e-4), random_rows(512)
        sae.b_enc.detach()[:5].sub_(3.0)
        sae.tokens_since_fired[:5], sae.dead_after = 10_000, 10_000
        silent = torch.ones(5, dtype=torch.bool)
        optimiser = torch.optim.Adam(sae.parameters(), lr=3e-2)
        for step in range(150):
            loss = torch.stack(list(sae.loss_terms(Batch(x, x), step).values())).sum()
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            sae.after_step(step)
            silent &= sae.tokens_since_fired[:5] > 0
        never.append(silent.sum().item())
    assert never[1] == 0 < never[0]


def test_the_two_paths_of_tanh_agree(monkeypatch):
    x, found = random_rows(97), []
    for dense in (True, False):
        sae = build(penalty="tanh", bandwidth=0.5, target_l0=3.0)
        monkeypatch.setattr(sae, "_is_dense", lambda _, dense=dense: dense)
        terms = sae.loss_terms(Batch(x, x), 0)
        torch.stack(list(terms.values())).sum().backward()
        found.append([*terms.values(), sae.target.weight, *(p.grad for p in sae.parameters())])
    torch.testing.assert_close(*found)
