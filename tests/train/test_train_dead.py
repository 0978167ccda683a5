"""The reasons that are given are those that were built in, and no other."""

import re

import pytest
import torch

from saelab.config import settings
from saelab.sae import sae_config
from saelab.train import OptimiserConfig, TrainConfig
from saelab.train.dead import why_dead
from saelab.train.defaults import default_learning_rate
from saelab.train.plans import plans


class Rows:
    """Standard normal rows; `make` changes them."""

    sites = ("blocks.0.hook_resid_post",)

    def __init__(self, make=lambda x: x):
        self.make = make

    def d(self, site):
        return 32

    def rows(self):
        return None

    def sample(self, sites, rows):
        return dict.fromkeys(sites, self.make(torch.randn(rows, 32, generator=torch.Generator().manual_seed(0))))

    def batches(self, sites, batch, seed, start=0):
        yield self.sample(sites, batch)

    def heldout(self, sites, rows):
        return None

    def origin(self):
        return {"hash": "x", "model_name": "none"}


def planned(make, sae=None, **train):
    values = {"sae": {"variant": "topk", "d_sae": 64, "k": 8, **(sae or {})}, "train": {"rows": 200_000, **train}}
    return plans(settings(TrainConfig, values, where="test"), Rows(make))


def reasons(make=lambda x: x, sae=None, **train):
    (plan,) = planned(make, sae, **train)
    return [reason.measured for reason in why_dead(plan, Rows(make))]


def outlying(x):
    x[:, 3] *= 50
    return x


def flat(x):
    return torch.cat([x[:, :4], 1e-3 * x[:, 4:]], dim=1)


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ("3.0 times what is derived", {"lr": 3 * default_learning_rate(64, 200_000)}),
        ("sae.aux is 0", {"sae": {"aux": 0.0}}),
        ("after 100,000 rows without firing", {"dead_after": 100_000}),
        ("firings on average", {"rows": 2048}),
        ("coordinates 3,", {"make": outlying}),
        ("4 of 32 dimensions hold 99 %", {"make": flat}),
    ],
)
def test_what_is_wrong_is_said(words, changes):
    assert any(words in reason for reason in reasons(**changes)), reasons(**changes)


def test_the_way_out_names_a_setting_that_exists():
    (plan,) = planned(flat)
    (reason,) = [one for one in why_dead(plan, Rows(flat)) if "dimensions" in one.measured]
    section, name = re.search(r"set (\w+)\.(\w+) to", reason.change).groups()
    assert section == "train" and name in OptimiserConfig.model_fields


def test_firings_are_counted_over_all_layers_of_a_cross_layer_transcoder():
    cfg = sae_config({"variant": "clt", "d_in": 32, "d_out": 32, "d_sae": 64, "layers": 4, "k": 2})
    assert cfg.active == 8
    assert sae_config({**cfg.model_dump(), "activation": "relu", "k": None}).active is None


def test_a_run_with_nothing_wrong_gives_no_reason():
    assert reasons() == []
