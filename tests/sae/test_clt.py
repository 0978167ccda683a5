"""The cross-layer transcoder against the sum of explicit per-layer transcoders."""

import copy
import json
from types import SimpleNamespace

import pytest
import torch

from saelab.contracts import Batch
from saelab.errors import CheckpointError, ConfigError
from saelab.sae import SAE, VARIANTS, sae_config
from saelab.sae.replacements import CLT
from saelab.sae.replacements.layers import raw_layers
from saelab.train import OptimiserConfig
from saelab.train.optimise import Optimiser

LAYERS, D, D_OUT, EACH, ROWS = 3, 6, 4, 10, 33
ACTIVATIONS = [{"k": 3}, {"activation": "relu"}, {"activation": "jumprelu", "initial_threshold": 0.3}]
IDS = ["topk", "relu", "jumprelu"]


def generator(seed):
    return torch.Generator().manual_seed(seed)


def build(**changes):
    values = {"d_in": LAYERS * D, "d_out": LAYERS * D_OUT, "d_sae": LAYERS * EACH, "layers": LAYERS, **changes}
    clt = CLT(sae_config({"variant": "clt", **values}), generator(1))
    with torch.no_grad():
        for bias in (clt.b_enc, clt.b_dec):
            bias.copy_(0.1 * torch.randn(bias.shape, generator=generator(2)))
    return clt


def rows(seed=3):
    x = torch.randn(ROWS, LAYERS * D, generator=generator(seed))
    return x, x[:, : LAYERS * D_OUT].flip(1) + 1


def transcoders(clt):
    """One TopK transcoder per layer, of the layer's own and all later outputs; b_dec is the first one's."""
    made = []
    for layer in range(LAYERS):
        cfg = sae_config({"variant": "topk", "d_in": D, "d_out": (LAYERS - layer) * D_OUT, "d_sae": EACH, "k": 3})
        one = VARIANTS["topk"](cfg)
        with torch.no_grad():
            one.W_enc.copy_(clt.encoders[layer].t())
            one.b_enc.copy_(clt.b_enc[layer])
            one.W_dec.copy_(clt.decoder(layer).flatten(1))
            one.b_dec.copy_(clt.b_dec if layer == 0 else torch.zeros_like(one.b_dec))
        made.append(one)
    return made


def summed(parts, x):
    out = torch.zeros(len(x), LAYERS * D_OUT)
    for layer, part in enumerate(parts):
        out = out + torch.nn.functional.pad(part(x[:, layer * D : (layer + 1) * D]), (layer * D_OUT, 0))
    return out


def test_it_is_the_sum_of_explicit_transcoders_of_each_layer():
    clt, (x, y) = build(k=3, aux=0), rows()
    parts = transcoders(clt)
    torch.testing.assert_close(clt(x), summed(parts, x))
    clt.loss_terms(Batch(x, y), 0)["reconstruction"].backward()
    (y - summed(parts, x)).square().mean().backward()
    for layer, part in enumerate(parts):
        torch.testing.assert_close(clt.encoders[layer].grad, part.W_enc.grad.t())
        torch.testing.assert_close(clt.decoders[layer].grad, part.W_dec.grad)
        torch.testing.assert_close(clt.b_enc.grad[layer], part.b_enc.grad)
    torch.testing.assert_close(clt.b_dec.grad, parts[0].b_dec.grad)


def test_features_are_numbered_layer_by_layer():
    clt, (x, _) = build(k=3), rows()
    dense = clt.encode(x)
    for layer, part in enumerate(transcoders(clt)):
        own = dense[:, layer * EACH : (layer + 1) * EACH]
        torch.testing.assert_close(own, part.encode(x[:, layer * D : (layer + 1) * D]))
    codes = clt.encode_sparse(x)
    assert codes.n == LAYERS * EACH
    torch.testing.assert_close(codes.dense(), dense)
    torch.testing.assert_close(clt.decode_sparse(codes), clt.decode(dense))
    torch.testing.assert_close(clt.decode(dense), clt(x))


@pytest.mark.parametrize("layer", range(LAYERS))
def test_nothing_is_written_to_earlier_layers(layer):
    clt, (x, _) = build(k=3), rows()
    before = clt(x).detach()
    x[:, layer * D : (layer + 1) * D] += 1.0
    changed = (clt(x) != before).any(dim=0).view(LAYERS, D_OUT)
    assert not changed[:layer].any()
    assert changed[layer:].all()
    assert clt.decoder(layer).shape == (EACH, LAYERS - layer, D_OUT)


@pytest.mark.parametrize("changes", ACTIVATIONS, ids=IDS)
def test_every_parameter_gets_a_gradient(changes):
    clt, (x, y) = build(**changes), rows()
    clt.tokens_since_fired[::3], clt.dead_after = 1000, 500
    torch.stack(list(clt.loss_terms(Batch(x, y), 50).values())).sum().backward()
    for name, parameter in clt.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_relu_and_jumprelu_by_their_definitions():
    x, y = rows()
    relu, jump = build(activation="relu", l1=0.5), build(activation="jumprelu", l0=0.1, initial_threshold=0.3)
    pre = torch.cat([part @ relu.encoders[i].t() + relu.b_enc[i] for i, part in enumerate(x.chunk(LAYERS, 1))], dim=1)
    torch.testing.assert_close(relu.encode(x), pre.relu())
    torch.testing.assert_close(jump.encode(x), torch.where(pre > 0.3, pre, 0.0))
    l1 = relu.loss_terms(Batch(x, y), 50)["l1"]
    torch.testing.assert_close(l1, 0.5 * pre.relu().sum() / ROWS / D**0.5)
    active = (pre > 0.3).sum() / ROWS
    torch.testing.assert_close(jump.loss_terms(Batch(x, y), 50)["l0"], 0.1 * active)
    held = build(activation="jumprelu", target_l0=4.0, initial_threshold=0.3)
    torch.testing.assert_close(held.loss_terms(Batch(x, y), 50)["l0"], (active / 4 - 1) ** 2)
    torch.testing.assert_close(jump.loss_terms(Batch(x, y), 50)["reconstruction"], (y - jump(x)).square().mean())


def test_dead_features_are_brought_back_layer_by_layer():
    clt, (x, y) = build(k=2, aux=1.0), rows()
    clt.tokens_since_fired[EACH : EACH + 4], clt.dead_after = 1000, 500
    with torch.no_grad():
        clt.b_enc[1, :4] = -1.0  # they lose against the others, but not everywhere
        clt.encoders[1][:4] *= 0.5
        clt.b_enc[1, 4:] = 5.0
    clt.loss_terms(Batch(x, y), 0)["aux"].backward()
    assert [encoder.grad is not None for encoder in clt.encoders] == [False, True, False]
    assert clt.encoders[1].grad[:4].abs().sum() > 0
    assert not clt.encoders[1].grad[4:].any()


@pytest.mark.parametrize("changes", ACTIVATIONS, ids=IDS)
def test_fused_steps_are_the_steps_of_written_out_gradients(changes):
    x, y = (part.double() for part in rows())
    found = []
    for settings in ({}, {"clip": 1e9}):  # clipping has all gradients written out
        clt = build(**changes).double()
        optimiser = Optimiser(clt, OptimiserConfig.model_validate({"lr": 3e-3, **settings}))
        for step in range(10):
            with optimiser.gradients():
                torch.stack(list(clt.loss_terms(Batch(x, y), step).values())).sum().backward()
            optimiser.step(3e-3, step)
        found.append((optimiser.path, list(clt.parameters())))
    assert found[0][0] == "fused"
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-6, atol=1e-8)
    assert all(torch.allclose(W.norm(dim=1), torch.ones(EACH).double()) for W in clt.decoders)


@pytest.mark.parametrize("changes", ACTIVATIONS, ids=IDS)
def test_folding_changes_units_and_nothing_else(changes):
    clt, (x, _) = build(**changes), rows()
    before = copy.deepcopy(clt.state_dict())
    c, c_y = torch.linspace(-3, 3, LAYERS * D), torch.linspace(1, 2, LAYERS * D_OUT)
    folded = clt.fold(SimpleNamespace(centre=c, scale=0.4, target_centre=c_y, target_scale=2.5))
    raw = x / 0.4 + c
    torch.testing.assert_close(folded(raw), clt.eval()(x) / 2.5 + c_y, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(folded.encode(raw), clt.encode(x) / 2.5, rtol=1e-5, atol=1e-5)
    assert all(t.equal(before[name]) for name, t in clt.state_dict().items())


@pytest.mark.parametrize("changes", ACTIVATIONS, ids=IDS)
def test_it_survives_saving_and_loading_to_the_bit_and_is_no_sae(changes, tmp_path):
    clt, (x, _) = build(**changes).eval(), rows()
    clt.save(tmp_path, {"hook_name": ["blocks.0.mlp.hook_in"]})
    again = CLT.load(tmp_path)
    assert isinstance(again, CLT)
    assert again.cfg == clt.cfg
    assert again(x).equal(clt(x))
    assert json.loads((tmp_path / "cfg.json").read_text())["architecture"] == "clt"
    with pytest.raises(CheckpointError, match=r"(?s)holds a clt, which has a decoder for every pair.*CLT\.load"):
        SAE.load(tmp_path)


def test_the_layers_taken_apart_work_on_raw_activations():
    clt = build(activation="jumprelu", initial_threshold=0.3)
    scales, s_y = [2.0, 0.5, 1.0], torch.tensor([4.0, 1.0, 0.1])
    about = [
        [{"name": f"{kind}.{i}", "d": d, "scale": s} for i, s in enumerate(each)]
        for kind, d, each in (("mlp_in", D, scales), ("mlp_out", D_OUT, s_y.tolist()))
    ]
    clt.metadata = {"sites": about[0], "sites_out": about[1]}
    x, _ = rows()
    raw = [part / scale for part, scale in zip(x.chunk(LAYERS, 1), scales, strict=True)]
    layers = raw_layers(clt)
    made = [layer.b_dec.expand(ROWS, -1) for layer in layers]
    for i, (layer, read) in enumerate(zip(layers, raw, strict=True)):
        pre = read @ layer.W_enc.t() + layer.b_enc
        f = torch.where(pre > layer.threshold, pre, 0.0)
        for j in range(LAYERS - i):
            made[i + j] = made[i + j] + f @ layer.W_dec[:, j]
    wanted = [part / scale for part, scale in zip(clt(x).chunk(LAYERS, 1), s_y, strict=True)]
    torch.testing.assert_close(made, wanted)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"d_sae": 31}, r"d_sae = 31 cannot be shared out evenly over layers = 3"),
        ({"k": 11}, r"k = 11 features per token and layer, but a layer has 10"),
        ({"activation": "relu", "k": 3}, r"k = 3 belongs to activation: topk"),
        ({"skip": True}, r"leave skip and transcoder out"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, match):
    with pytest.raises(ConfigError, match=match):
        build(**changes)
