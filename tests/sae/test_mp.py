"""MP-SAE: one dictionary, no encoder, steps that can be changed after training."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open

from saelab.contracts import Batch
from saelab.metrics import fvu
from saelab.sae import SAE, VARIANTS, sae_config


def build(d_in: int = 16, d_sae: int = 24, **more: Any) -> Any:
    return VARIANTS["mp"](sae_config({"variant": "mp", "d_in": d_in, "d_sae": d_sae, **more}), seeded())


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_second_feature_explains_what_the_first_has_left():
    sae = build(2, 2, k=2)
    with torch.no_grad():
        sae.W_dec.copy_(torch.tensor([[1.0, 0.0], [0.6, 0.8]]))
    # <x, w_1> = 2 and <x, w_2> = 2.8: w_2 comes first and leaves (0.32, -0.24), of which w_1 takes 0.32
    torch.testing.assert_close(sae.encode(torch.tensor([[2.0, 2.0]])), torch.tensor([[0.32, 2.8]]))


def test_w_enc_is_a_view_of_the_dictionary_and_no_parameter():
    sae, transcoder = build(), build(d_out=5)
    assert [name for name, _ in sae.named_parameters()] == ["W_dec", "b_dec"]
    assert sae.W_enc.data_ptr() == sae.W_dec.data_ptr()
    assert sae.W_enc.t().equal(sae.W_dec)
    assert not sae.b_enc.any()
    assert transcoder.W_enc.t().equal(transcoder.W_read)
    torch.testing.assert_close(transcoder.W_read.norm(dim=1), torch.ones(24))


def test_evaluation_may_take_another_number_of_steps():
    sae = build(k=2, steps=5)
    x = torch.randn(50, 16, generator=seeded(1))
    assert sae.encode_sparse(x).l0.max() == 2
    assert sae.eval().encode_sparse(x).l0.max() > 2
    assert sae.with_steps(1).encode_sparse(x).l0.max() == 1


def test_more_steps_of_the_same_weights_explain_more():
    sae = build(k=3).eval()
    x = torch.randn(200, 16, generator=seeded(1))
    with torch.no_grad():
        errors = [fvu(x, sae.with_steps(steps)(x)) for steps in (3, 6, 12)]
    assert errors[0] > errors[1] > errors[2]
    assert sae.with_steps(6).W_dec is sae.W_dec
    assert sae.steps == 3


def test_a_row_is_done_once_little_is_left_in_whatever_unit():
    sae = build(d_sae=16, k=16, tau=1.0)
    sae.W_dec.detach().copy_(torch.eye(16))  # so the largest coordinates are taken, largest first
    x = torch.randn(100, 16, generator=seeded(1)).abs()
    codes = sae.encode_sparse(x)
    left, last = (x - sae(x)).norm(dim=1), torch.where(codes.mask, codes.val, 9.0).amin(dim=1)
    assert (left < 1).all()
    assert ((left.square() + last.square()) >= 1).all()
    c = torch.linspace(-1, 1, 16)
    folded = sae.fold(SimpleNamespace(centre=c, scale=0.5, target_centre=c, target_scale=0.5))
    assert folded.tau == 2.0
    assert folded.encode_sparse(x / 0.5 + c).count.equal(codes.count)


def test_the_checkpoint_is_what_sae_lens_calls_matching_pursuit(tmp_path):
    sae = build(k=4, steps=7, tau=0.5, stop_at_repeat=True).eval()
    sae.save(tmp_path)
    config = json.loads((tmp_path / "cfg.json").read_text())
    assert config["architecture"] == "matching_pursuit"
    assert config["residual_threshold"] == 0.5
    assert config["max_iterations"] == 7
    assert config["stop_on_duplicate_support"] is True
    with safe_open(tmp_path / "sae_weights.safetensors", framework="pt") as file:
        assert set(file.keys()) == {"W_dec", "b_dec"}
    x = torch.randn(9, 16, generator=seeded(1))
    assert SAE.load(tmp_path)(x).equal(sae(x))


def test_what_sae_lens_would_misread_has_a_name_that_it_does_not_know():
    assert build(apply_b_dec_to_input=False).architecture == "matching_pursuit_uncentred"
    assert build(d_out=5).architecture == "matching_pursuit_transcoder"


@pytest.mark.parametrize("changes", [{}, {"d_out": 5}], ids=["autoencoder", "transcoder"])
def test_one_step_is_the_gradient_of_the_unrolled_loss(changes):
    """With one step r_1 = x - <x, w> w, so the loss is |x|^2 - <x, w>^2 and falls by steps along <x, w> x."""
    sae = build(k=1, **changes)
    x = torch.randn(1, 16, generator=seeded(1))
    y = x[:, : sae.cfg.width_out]
    sae.loss_terms(Batch(x, y), 0)["reconstruction"].backward()
    (j,) = sae.encode_sparse(x).idx[0].tolist()
    f = (x @ sae.dictionary[j]).item()
    error = -2 * (y - f * sae.W_dec[j]) / y.numel()  # [1, d_out], of x_hat
    d_f = (error @ sae.W_dec[j]).item()
    if changes:
        torch.testing.assert_close(sae.W_read.grad[j], d_f * x[0])
        torch.testing.assert_close(sae.W_dec.grad[j], f * error[0].detach())
    else:
        torch.testing.assert_close(sae.W_dec.grad[j], (f * error[0] + d_f * x[0]).detach())
