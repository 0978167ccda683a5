"""Gated: code, loss terms and who gets which gradient by hand; the dense and the sparse path; exports."""

import json
from math import log
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from saelab.contracts import Batch
from saelab.sae import SAE, VARIANTS, sae_config


def build(variant: str = "gated", d_in: int = 13, d_sae: int = 31, **more) -> Any:
    torch.manual_seed(0)
    return VARIANTS[variant](sae_config({"variant": variant, "d_in": d_in, "d_sae": d_sae, **more}))


def stirred(**more) -> Any:
    """One with nothing at its initial value."""
    sae = build(**more)
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
        sae.after_step(0)
    return sae


def east_north_west() -> Any:
    """East opens from 1 on and counts double, north is lifted by a half."""
    sae = build(d_in=2, d_sae=3, l1=0.5)
    with torch.no_grad():
        sae.W_dec.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
        sae.W_enc.copy_(sae.W_dec.T)
        sae.b_enc.copy_(torch.tensor([-1.0, 0.0, 0.0]))
        sae.r_mag.copy_(torch.tensor([log(2.0), 0.0, 0.0]))
        sae.b_mag.copy_(torch.tensor([0.0, 0.5, 0.0]))
    return sae


def grads(sae: Any, term: str, x: torch.Tensor) -> dict[str, Any]:
    sae.zero_grad()
    sae.loss_terms(Batch(x, x), 0)[term].backward()
    return {name: None if p.grad is None else p.grad.abs().sum().item() for name, p in sae.named_parameters()}


def test_the_gate_says_whether_and_the_magnitude_how_much():
    f = east_north_west().encode(torch.tensor([[3.0, 2.0], [0.9, -0.2], [-2.0, 1.0]]))
    torch.testing.assert_close(f, torch.tensor([[6.0, 2.5, 0.0], [0.0, 0.0, 0.0], [0.0, 1.5, 2.0]]))


def test_the_loss_terms_by_hand():
    x = torch.tensor([[3.0, 2.0]])  # gate (2, 2, -3), f (6, 2.5, 0)
    terms = {name: term.item() for name, term in east_north_west().loss_terms(Batch(x, x), 0).items()}
    assert terms["reconstruction"] == pytest.approx((3**2 + 0.5**2) / 2)
    assert terms["l1"] == pytest.approx(0.5 * (2 + 2) / 2**0.5)
    assert terms["gate"] == pytest.approx(1**2 / 2)


def test_the_gate_s_loss_leaves_decoder_and_magnitudes_alone_and_the_other_the_gate(monkeypatch):
    x = torch.randn(97, 13)
    for dense in (True, False):
        monkeypatch.setattr("saelab.sae.variants.gated.is_dense", lambda *_, dense=dense: dense)
        found = grads(stirred(), "gate", x)
        assert not found["W_dec"] and not found["r_mag"] and not found["b_mag"]
        assert found["W_enc"] > 0 and found["b_enc"] > 0 and found["b_dec"] > 0  # b_dec: what the encoder takes off
        assert not grads(stirred(apply_b_dec_to_input=False), "gate", x)["b_dec"]
        found = grads(stirred(), "reconstruction", x)
        assert not found["b_enc"]
        assert all(found[name] > 0 for name in ("W_enc", "W_dec", "r_mag", "b_mag", "b_dec"))


@pytest.mark.parametrize("more", [{}, {"d_out": 5, "skip": True}], ids=["plain", "skip"])
def test_the_dense_and_the_sparse_path_agree(more, monkeypatch):
    x = torch.randn(97, 13)
    y, results = x[:, : more.get("d_out", 13)] + 1, []
    for dense in (True, False):
        sae = stirred(**more)
        monkeypatch.setattr("saelab.sae.variants.gated.is_dense", lambda *_, dense=dense: dense)
        terms = sae.loss_terms(Batch(x, y), 0)
        torch.stack(list(terms.values())).sum().backward()
        results.append([*terms.values(), *(p.grad for p in sae.parameters()), sae.tokens_since_fired])
    for by_dense, by_sparse in zip(*results, strict=True):
        torch.testing.assert_close(by_dense, by_sparse)


def test_an_autoencoder_has_sae_lens_names(tmp_path):
    sae = stirred()
    sae.save(tmp_path)
    names = {"W_enc", "W_dec", "b_dec", "b_gate", "b_mag", "r_mag"}
    assert set(load_file(tmp_path / "sae_weights.safetensors")) == names
    assert json.loads((tmp_path / "cfg.json").read_text())["architecture"] == "gated"


def test_a_transcoder_is_exported_as_the_jumprelu_it_equals_and_read_as_what_it_is(tmp_path):
    sae, x = stirred(d_out=5, skip=True).eval(), torch.randn(97, 13)
    sae.save(tmp_path)
    assert json.loads((tmp_path / "cfg.json").read_text())["architecture"] == "jumprelu_skip_transcoder"
    tensors = load_file(tmp_path / "sae_weights.safetensors")
    pre = x @ tensors["W_enc"] + tensors["b_enc"]
    torch.testing.assert_close(sae.encode(x), pre * (pre > tensors["threshold"]))
    again = SAE.load(tmp_path)
    assert again.encode(x).equal(sae.encode(x))
    assert again.W_enc.equal(sae.W_enc) and again.b_enc.equal(sae.b_enc)
