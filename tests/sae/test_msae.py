"""MSAE: sizes of the codes, their weights by hand and by definition, and what is kept at inference."""

import json
from typing import Any

import pytest
import torch

from saelab.contracts import Batch
from saelab.errors import ConfigError
from saelab.sae import SAE, VARIANTS, sae_config
from saelab.sae.variants.msae import MSAEConfig


def build(d_in: int = 12, d_sae: int = 40, **more) -> Any:
    torch.manual_seed(0)
    return VARIANTS["msae"](sae_config({"variant": "msae", "d_in": d_in, "d_sae": d_sae, **more}))


def settings(**more) -> MSAEConfig:
    return MSAEConfig.model_validate({"d_in": 4, "d_sae": 40, **more})


def test_codes_double_up_to_all_features():
    assert settings(k0=8).codes == [8, 16, 32, 40]
    assert settings(k0=10).codes == [10, 20, 40]
    assert settings(k0=40).codes == [40]
    assert settings().codes == [40]  # fewer than the 64 there would be
    with pytest.raises(ConfigError, match="k0 = 41 features per row, but d_sae = 40"):
        build(k0=41)
    with pytest.raises(ConfigError, match="lower inference_k or raise d_sae"):
        build(k0=4, inference_k=41)


@pytest.mark.parametrize(("weighting", "share"), [("uniform", 1 / 3), ("reverse", 3 / 6)])
def test_the_smallest_code_has_its_share_of_the_loss(weighting, share):
    sae = build(2, 3, k0=1, weighting=weighting)
    with torch.no_grad():
        sae.W_dec.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
        sae.W_enc.copy_(sae.W_dec.T)
    x = torch.tensor([[2.0, 3.0]])  # feature 1 is the strongest: alone it leaves (2, 0); two leave nothing, as all do
    assert sae.loss_terms(Batch(x, x), 0)["reconstruction"].item() == pytest.approx(share * 4 / 2)


@pytest.mark.parametrize("weighting", ["uniform", "reverse"])
def test_loss_and_gradients_are_those_of_dense_codes(weighting):
    sae, x = build(k0=3, weighting=weighting).double(), torch.randn(50, 12, dtype=torch.float64)
    other = build(k0=3, weighting=weighting).double()
    loss = sae.loss_terms(Batch(x, x), 0)["reconstruction"]
    loss.backward()
    f = torch.relu((x - other.b_dec) @ other.W_enc + other.b_enc)
    losses = []
    for k in (3, 6, 12, 24, 40):
        kept = f.topk(k, dim=1)
        losses.append((x - torch.zeros_like(f).scatter(1, kept.indices, kept.values) @ other.W_dec).pow(2).mean())
    alpha = torch.tensor([1.0] * 5 if weighting == "uniform" else [5.0, 4.0, 3.0, 2.0, 1.0]).double()
    wanted = alpha @ torch.stack(losses) / alpha.sum()
    (wanted + 0 * other.b_dec.sum()).backward()
    torch.testing.assert_close(loss, wanted)
    for name in ("W_enc", "b_enc", "W_dec"):
        torch.testing.assert_close(sae.get_parameter(name).grad, other.get_parameter(name).grad)


def test_inference_keeps_all_that_is_above_zero_or_the_largest_of_it(tmp_path):
    sae, x = build(k0=4).eval(), torch.randn(97, 12)
    relu = torch.relu(x @ sae.W_enc)
    torch.testing.assert_close(sae.encode(x), relu)
    top = relu.topk(5, dim=1)
    torch.testing.assert_close(sae.at(5).encode(x), torch.zeros_like(relu).scatter(1, top.indices, top.values))
    for k, kind in ((None, "standard"), (5, "topk")):
        sae.at(k).save(tmp_path)
        assert SAE.load(tmp_path).encode(x).equal(sae.at(k).encode(x))
        config = json.loads((tmp_path / "cfg.json").read_text())
        assert (config["architecture"], config.get("k")) == (kind, k)
