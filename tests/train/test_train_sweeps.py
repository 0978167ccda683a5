from typing import Any

import pytest

from saelab.errors import ConfigError
from saelab.train import sweep

BASE: dict[str, Any] = {"store": "s", "sae": {"variant": "topk", "d_sae": 64}}


def test_a_sweep_makes_one_entry_per_value():
    assert sweep(BASE, ["sae.k=8,16"])["sae"] == [{**BASE["sae"], "k": 8}, {**BASE["sae"], "k": 16}]


def test_two_sweeps_make_their_product():
    swept = sweep(BASE, ["sae.k=8,16", "sae.d_sae=32,64"])["sae"]
    assert [(entry["k"], entry["d_sae"]) for entry in swept] == [(8, 32), (8, 64), (16, 32), (16, 64)]


def test_a_sweep_of_the_optimiser_stays_with_its_entry():
    assert [entry["train"] for entry in sweep(BASE, ["train.lr=1e-3,0.01"])["sae"]] == [{"lr": "1e-3"}, {"lr": 0.01}]


def test_every_entry_of_a_list_is_swept():
    assert len(sweep({"sae": [{"variant": "topk"}, {"variant": "relu"}]}, ["sae.d_sae=8,16,32"])["sae"]) == 6


def test_no_sweep_changes_nothing():
    assert sweep(BASE, []) == BASE


@pytest.mark.parametrize("text", ["k=1,2", "sae.k", "sae.k=", "store=a,b", "sae.k=[1"])
def test_what_is_no_sweep_is_refused_with_an_example(text):
    with pytest.raises(ConfigError, match=r"sae\.k=8,16,32"):
        sweep(BASE, [text])
