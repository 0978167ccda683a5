"""What is particular to one variant."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from saelab.contracts import Batch
from saelab.errors import CheckpointError, ConfigError
from saelab.kernels.jumprelu import heaviside, jumprelu
from saelab.sae import VARIANTS, sae_config
from saelab.sae.parts import warm_up


def build(variant: str, d_in: int = 2, d_sae: int = 3, **more) -> Any:
    torch.manual_seed(0)
    return VARIANTS[variant](sae_config({"variant": variant, "d_in": d_in, "d_sae": d_sae, **more}))


def grad(parameter: torch.Tensor) -> torch.Tensor:
    """The gradient, which there is."""
    assert parameter.grad is not None
    return parameter.grad


def east_north_west(variant: str = "topk", **more) -> Any:
    """Features that look east, north and west."""
    sae = build(variant, **more)
    with torch.no_grad():
        sae.W_dec.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
        sae.W_enc.copy_(sae.W_dec.T)
    return sae


def test_topk_keeps_the_strongest_feature_and_no_other():
    assert east_north_west(k=1).encode(torch.tensor([[3.0, 2.0]])).tolist() == [[3.0, 0.0, 0.0]]


def test_what_fills_up_a_row_short_of_positive_values_gets_no_gradient_and_does_not_fire():
    sae = east_north_west(k=3)
    x = torch.tensor([[3.0, 2.0]])
    sae.loss_terms(Batch(x, x + 1), 0)["reconstruction"].backward()
    assert grad(sae.W_enc)[:, 2].tolist() == [0.0, 0.0]
    assert grad(sae.W_dec)[2].tolist() == [0.0, 0.0]
    assert grad(sae.b_enc)[2] == 0
    assert grad(sae.b_enc)[:2].abs().min() > 0
    assert sae.tokens_since_fired.tolist() == [0, 0, 1]


def test_batchtopk_gives_one_row_what_another_does_not_need():
    sae = east_north_west("batchtopk", k=1)
    assert sae.encode(torch.tensor([[3.0, 2.0], [0.0, 0.0]])).tolist() == [[3.0, 2.0, 0.0], [0.0, 0.0, 0.0]]


def test_batchtopk_has_no_inference_threshold_before_training():
    with pytest.raises(CheckpointError, match="never trained"):
        east_north_west("batchtopk", k=1).eval().encode(torch.ones(1, 2))


def test_batchtopk_s_threshold_is_the_mean_of_the_last_tenth_s_smallest_kept_values():
    sae = east_north_west("batchtopk", k=1)
    for seen, height, wanted in ((0, 2.0, 2.0), (1, 4.0, 4.0), (19, 6.0, 5.0), (9_999, 105.0, 6.0)):
        sae.batches_seen.fill_(seen)  # so far; of the 20th on the mean is over two, of the 10,000th over a hundred
        x = torch.tensor([[2 * height, height], [0.0, 0.0]])
        sae.loss_terms(Batch(x, x), 0)
        assert sae.threshold.tolist() == pytest.approx([wanted] * 3)
    assert sae.eval().encode(torch.tensor([[6.5, 2.5]])).tolist() == [[6.5, 0.0, 0.0]]


def test_batchtopk_in_evaluation_does_not_look_at_other_rows():
    sae = build("batchtopk", 16, 32, k=4)
    x = torch.randn(64, 16)
    sae.loss_terms(Batch(x, x), 0)
    sae.eval()
    torch.testing.assert_close(sae.encode(x)[:1], sae.encode(x[:1]))
    assert abs(sae.encode_sparse(x).l0.float().mean() - 4) < 0.05  # all but the one at the threshold itself


def test_relu_s_penalty_is_in_units_of_the_mean_row_length():
    sae = east_north_west("relu", l1=0.5)
    x = torch.tensor([[3.0, 2.0]])
    terms = sae.loss_terms(Batch(x, x), 0)
    assert terms["l1"].item() == pytest.approx(0.5 * 5 / 2**0.5)
    assert terms["reconstruction"].item() == 0


@pytest.mark.parametrize(
    ("variant", "more"), [("relu", {}), ("jumprelu", {"bandwidth": 0.5}), ("jumprelu", {"target_l0": 4.0})]
)
def test_the_dense_and_the_sparse_path_agree(variant, more, monkeypatch):
    x = torch.randn(97, 13)
    results = []
    for dense in (True, False):
        sae = build(variant, 13, 31, **more)
        with torch.no_grad():
            sae.b_dec.add_(0.1)
        monkeypatch.setattr(sae, "_is_dense", lambda _x, dense=dense: dense)
        terms = sae.loss_terms(Batch(x, x), 0)
        torch.stack(list(terms.values())).sum().backward()
        results.append([*terms.values(), *(p.grad for p in sae.parameters()), sae.tokens_since_fired])
    for by_dense, by_sparse in zip(*results, strict=True):
        torch.testing.assert_close(by_dense, by_sparse)


def test_few_active_features_take_the_sparse_path():
    sae = build("relu", 13, 31)
    x = torch.randn(97, 13)
    assert sae._is_dense(x)
    with torch.no_grad():
        sae.b_enc.sub_(2.0)
    assert not sae._is_dense(x)


def test_the_jump_s_gradients_are_those_of_the_window_by_hand():
    pre = torch.tensor([0.5, 0.95, 1.05, 2.0], requires_grad=True)
    theta = torch.ones(4, requires_grad=True)
    jumprelu(pre, theta, 0.2).backward(torch.full((4,), 3.0))
    assert grad(pre).tolist() == [0, 0, 3, 3]
    torch.testing.assert_close(theta.grad, torch.tensor([0.0, -15.0, -15.0, 0.0]))  # -theta / eps * 3
    theta.grad = None
    heaviside(pre.detach(), theta, 0.2).backward(torch.full((4,), 3.0))
    torch.testing.assert_close(theta.grad, torch.tensor([0.0, -15.0, -15.0, 0.0]))


def test_the_threshold_s_gradient_is_that_of_the_smoothed_objective():
    """The mean over many pre-activations of d/dtheta E[c z + L0] = -(c theta + 1) p(theta), p the density of pre."""
    pre = torch.randn(4_000_000, generator=torch.Generator().manual_seed(0)).double()
    theta = torch.tensor([0.7], dtype=torch.float64, requires_grad=True)
    z, on = jumprelu(pre.unsqueeze(1), theta, 0.1), heaviside(pre.unsqueeze(1), theta, 0.1)
    (2.0 * z + on).mean().backward()
    density = torch.exp(torch.tensor(-(0.7**2) / 2)) / (2 * torch.pi) ** 0.5
    assert grad(theta).item() == pytest.approx(-(2 * 0.7 + 1) * density.item(), rel=0.02)  # 125,000 fall in the window


def test_the_l0_term_in_both_modes():
    x = torch.tensor([[3.0, 2.0], [1.0, -1.0]])  # active: 2 and 1 features
    assert east_north_west("jumprelu", l0=0.1, initial_threshold=0.1).loss_terms(Batch(x, x), 0)[
        "l0"
    ].item() == pytest.approx(0.15)
    held = east_north_west("jumprelu", target_l0=1.0, target_weight=2.0, initial_threshold=0.1)
    assert held.loss_terms(Batch(x, x), 0)["l0"].item() == pytest.approx(2 * 0.25)


@pytest.mark.parametrize("variant", ["relu", "jumprelu"])
def test_the_sparsity_term_warms_up(variant):
    sae, x = east_north_west(variant, warmup=0.1), torch.ones(4, 2)
    sae.total_steps = 100
    first, half, full = ([*sae.loss_terms(Batch(x, x), step).values()][1].item() for step in (0, 5, 50))
    assert first == 0
    assert half == pytest.approx(full / 2)
    assert [warm_up(3, None, 0.5), warm_up(3, 100, 0.0), warm_up(3, 12, 0.5)] == [1.0, 1.0, 0.5]


def half_dead(aux: float) -> tuple[Any, torch.Tensor]:
    """A TopK SAE whose upper half of features is outdone on every row, so that it never fires."""
    sae = build("topk", 16, 32, k=2, aux=aux)
    sae.dead_after = 100
    with torch.no_grad():
        sae.W_enc[:, 16:] *= 0.01
    sae.tokens_since_fired[16:] = 1000
    return sae, torch.randn(256, 16)


def test_auxk_s_gradient_reaches_encoder_and_decoder_of_dead_features_and_of_no_others():
    sae, x = half_dead(1 / 32)
    sae.loss_terms(Batch(x, x), 0)["aux"].backward()
    assert (grad(sae.W_enc).norm(dim=0)[16:] > 0).all()
    assert (grad(sae.W_dec).norm(dim=1)[16:] > 0).all()
    assert (grad(sae.b_enc)[16:] != 0).all()
    assert not grad(sae.W_enc)[:, :16].any()
    assert not grad(sae.W_dec)[:16].any()
    assert sae.b_dec.grad is None


def test_auxk_brings_dead_features_back():
    left = []
    for aux in (0.0, 1 / 32):
        sae, _ = half_dead(aux)
        optimiser = torch.optim.Adam(sae.parameters(), lr=1e-2)
        for step in range(100):
            x = torch.randn(256, 16, generator=torch.Generator().manual_seed(step))
            torch.stack(list(sae.loss_terms(Batch(x, x), step).values())).sum().backward()
            optimiser.step()
            optimiser.zero_grad()
            sae.after_step(step)
        left.append((sae.tokens_since_fired >= 1000).sum().item())
    assert left[0] > 0
    assert left[1] <= left[0] / 3


@given(st.integers(1, 5), st.integers(1, 40))
def test_topk_never_keeps_more_than_k(rows, k):
    sae = build("topk", 7, 40, k=k)
    assert sae.encode_sparse(torch.randn(rows, 7)).l0.max() <= k


def test_more_features_per_row_than_there_are_is_refused():
    with pytest.raises(ConfigError, match=r"k = 9 features per row, but d_sae = 8"):
        sae_config({"variant": "topk", "d_in": 4, "d_sae": 8, "k": 9})
    with pytest.raises(ConfigError, match=r"k = 9 features per row, but d_sae = 8"):
        sae_config({"variant": "batchtopk", "d_in": 4, "d_sae": 8, "k": 9})


def test_a_misspelt_variant_or_setting_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'jumprelu'"):
        sae_config({"variant": "jumpreru", "d_in": 4, "d_sae": 8})
    with pytest.raises(ConfigError, match="Did you mean 'd_sae'"):
        sae_config({"variant": "topk", "d_in": 4, "dsae": 8})


def test_a_width_to_write_makes_a_transcoder_that_leaves_b_dec_off_its_input():
    cfg = sae_config({"variant": "topk", "d_in": 4, "d_sae": 40, "d_out": 4})
    assert cfg.transcoder
    assert not cfg.apply_b_dec_to_input


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"transcoder": True, "apply_b_dec_to_input": True}, "set apply_b_dec_to_input to false"),
        ({"skip": True}, "needs transcoder: true"),
        ({"transcoder": False, "d_out": 3}, "needs transcoder: true"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, match):
    with pytest.raises(ConfigError, match=match):
        sae_config({"variant": "relu", "d_in": 4, "d_sae": 8, **changes})


def test_a_skip_connection_needs_the_input_to_decode():
    sae = build("relu", transcoder=True, skip=True)
    with pytest.raises(ConfigError, match=r"decode\(f, x\)"):
        sae.decode(torch.zeros(1, 3))


def test_rows_in_half_precision_are_encoded_in_full():
    sae = build("topk", 16, 32, k=4)
    x = torch.randn(9, 16).bfloat16()
    assert sae(x).equal(sae(x.float()))
