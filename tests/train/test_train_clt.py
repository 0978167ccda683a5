"""A cross-layer transcoder trained on two layers, the second of which also gets what the first one's features write."""

import pytest
import torch

from saelab.config import settings
from saelab.errors import ConfigError
from saelab.sae.replacements import CLT
from saelab.sae.sites import sites_read, sites_written
from saelab.train import TrainConfig, train
from saelab.train.sequences import SequenceRows

from .test_train_resume import only_weights, power_cut
from .train_rows import artefacts

READ = [f"blocks.{layer}.mlp.hook_in" for layer in range(2)]
WRITTEN = [f"blocks.{layer}.hook_mlp_out" for layer in range(2)]
ENTRY = {"variant": "clt", "d_sae": 64, "k": 5}


def layers(n, seed):
    """24 planted directions per layer; those of layer 0 are written at both layers, in units of very different size."""
    fixed, random = torch.Generator().manual_seed(1), torch.Generator().manual_seed(seed)
    read = torch.nn.functional.normalize(torch.randn(2, 24, 12, generator=fixed), dim=2)
    write = torch.randn(3, 24, 10, generator=fixed)
    f = (torch.rand(2, n, 24, generator=random) < 0.08) * (0.5 + torch.rand(2, n, 24, generator=random))
    rows = {READ[0]: 30 * f[0] @ read[0] + 5, READ[1]: f[1] @ read[1]}
    rows |= {WRITTEN[0]: 0.01 * f[0] @ write[0], WRITTEN[1]: f[0] @ write[1] + f[1] @ write[2] - 3}
    return {site: x.unsqueeze(1) for site, x in rows.items()}


class Failing(SequenceRows):
    """Rows that end in a power cut when batch `at` is asked for."""

    at = -1

    def batches(self, sites, batch, seed, start=0):
        for number, rows in enumerate(super().batches(sites, batch, seed, start), start):
            if number == self.at:
                power_cut()
            yield rows


@pytest.fixture
def source():
    return Failing(layers(4000, 2), layers(500, 3))


def config(out, entry=ENTRY, **more):
    own = {"rows": 4000, "batch": 200, "lr": 1e-2, **more.pop("train", {})}
    values = {"out": str(out), "site": READ, "target": WRITTEN, "sae": entry, "train": own, **more}
    return settings(TrainConfig, values, where="test")


def test_it_learns_what_each_layer_and_what_an_earlier_one_writes(source, tmp_path):
    (result,) = train(config(tmp_path, train={"rows": 60_000, "lr": 2e-2}), source=source)
    clt = CLT.load(result.path)
    assert isinstance(clt, CLT)
    assert clt.cfg.layers == 2
    # from layer 1 alone, half of what is written there is out of reach
    assert max(result.own[f"FVU at {site}"] for site in WRITTEN) < 0.3
    read, written = sites_read(clt.metadata, 24), sites_written(clt.metadata, 24, 20)
    assert (read.names, written.names) == (tuple(READ), tuple(WRITTEN))
    raw = {site: x.squeeze(1) for site, x in layers(500, 3).items()}
    with torch.no_grad():
        made = written.split(clt(read.join(raw)))
    error = (made[WRITTEN[0]] - raw[WRITTEN[0]]).square().sum() / raw[WRITTEN[0]].square().sum()
    assert error < 0.3


@pytest.mark.parametrize("entry", [ENTRY, {"variant": "clt", "d_sae": 64, "activation": "jumprelu", "target_l0": 5.0}])
def test_a_run_that_broke_off_ends_with_the_same_bits(source, tmp_path, entry):
    train(config(tmp_path / "whole", entry), source=source)
    cfg = config(tmp_path / "broken", entry, save_minutes=0)
    for source.at in (7, 13):
        with pytest.raises(OSError, match="power"):
            train(cfg, source=source)
    source.at = -1
    train(cfg, source=source)
    assert only_weights(artefacts(tmp_path / "broken")) == only_weights(artefacts(tmp_path / "whole"))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"target": WRITTEN[:1]}, r"(?s)layers 0, 1.*target: layers 0\n"),
        ({"target": None}, r"target: layers none"),
        ({"site": READ[::-1], "target": WRITTEN[::-1]}, r"from the first to the last"),
        ({"entry": {**ENTRY, "layers": 3}}, r"sae.layers = 3, but site lists 2"),
        ({"train": {"init": "active_subspace"}}, r"one for every pair of layers"),
    ],
)
def test_sites_that_are_no_layers_are_refused(source, tmp_path, changes, match):
    with pytest.raises(ConfigError, match=match):
        train(config(tmp_path / "out", **changes), source=source)
    assert not (tmp_path / "out").exists()
