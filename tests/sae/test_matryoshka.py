"""Matryoshka: prefixes, nested losses, random prefixes, and reading the first groups only."""

from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from saelab.contracts import Batch
from saelab.errors import ConfigError
from saelab.sae import SAE, VARIANTS, sae_config
from saelab.sae.variants.matryoshka import MatryoshkaConfig, random_widths

D, D_SAE, BATCH = 12, 40, 128


def build(variant: str = "matryoshka", d_in: int = D, d_sae: int = D_SAE, **more) -> Any:
    torch.manual_seed(0)
    return VARIANTS[variant](sae_config({"variant": variant, "d_in": d_in, "d_sae": d_sae, **more}))


def settings(**more) -> MatryoshkaConfig:
    return MatryoshkaConfig.model_validate({"d_in": 4, "d_sae": 32, "k": 2, **more})


def test_the_loss_is_the_mean_of_what_each_prefix_leaves_over_by_hand():
    sae = build(d_in=2, d_sae=3, k=3, groups=[1, 2])
    with torch.no_grad():
        sae.W_dec.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
        sae.W_enc.copy_(sae.W_dec.T)
    x = torch.tensor([[3.0, 2.0]])  # features 0 and 1 fire; the first alone leaves (0, 2), both leave nothing
    terms = sae.loss_terms(Batch(x, x), 0)
    assert terms["reconstruction"].item() == (4 / 2 + 0) / 2
    terms["reconstruction"].backward()
    # the first prefix's error is -2 (0, 2) / 2, and its weight 1/2; feature 0 carries it times 3, b_dec as it is
    assert sae.b_dec.grad.tolist() == [0.0, -1.0]
    assert sae.W_dec.grad[0].tolist() == [0.0, -3.0] and not sae.W_dec.grad[1:].any()


def test_groups_are_shares_or_sizes():
    assert settings().widths == (2, 4, 8, 16, 32)
    assert settings(groups=[4, 12, 16]).widths == (4, 16, 32)
    assert settings(groups=[0.25, 0.75]).widths == (8, 32)
    assert settings(groups=[1.0]).widths == settings(groups=[32]).widths == (32,)
    assert settings(d_sae=10, groups=[1 / 3, 1 / 3, 1 / 3]).widths == (3, 7, 10)


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"groups": [8, 16]}, r"groups sum to 24, and d_sae = 32"),
        ({"groups": [0.5, 0.4]}, r"groups sum to 0.9, and d_sae = 32"),
        ({"groups": [15.5, 16.5]}, "whole numbers"),
        ({"groups": [0.01, 0.99]}, r"end at \[0, 32\], so that one is empty"),
        ({"groups": [40, -8]}, "one is empty"),
        ({"groups": [16, 16], "inference_groups": 3}, "inference_groups = 3, but there are 2 groups"),
    ],
)
def test_groups_that_do_not_fit_are_refused(more, match):
    with pytest.raises(ConfigError, match=match):
        sae_config({"variant": "matryoshka", "d_in": 4, "d_sae": 32, "k": 2, **more})


def test_random_prefixes_ascend_end_with_all_and_have_the_law_they_state():
    torch.manual_seed(0)
    drawn = [random_widths(100, 4) for _ in range(2000)]
    assert all(list(widths) == sorted(set(widths)) and widths[-1] == 100 and widths[0] >= 1 for widths in drawn)
    torch.manual_seed(0)
    single = torch.tensor([random_widths(100, 2)[0] for _ in range(4000)])
    # sqrt(25 / 100) of the chance of all below 100, sqrt(99 / 100); 4000 draws know a share to 0.008
    assert abs((single <= 25).double().mean().item() - 0.5 / 0.99**0.5) < 0.03
    assert random_widths(7, 1) == (7,)
    assert random_widths(4, 4) == (1, 2, 3, 4)


def test_random_prefixes_depend_on_the_step_s_seed_alone():
    sae, x = build(k=3, prefixes="random"), torch.randn(BATCH, D)
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(sae.loss_terms(Batch(x, x), 0)["reconstruction"].item())
    assert losses[0] == losses[1] != losses[2]


def test_the_first_groups_alone_are_the_whole_code_without_the_others(tmp_path):
    sae = build(k=3, groups=[8, 8, 24])
    x = torch.randn(BATCH, D)
    sae.loss_terms(Batch(x, x), 0)
    sae.eval()
    with torch.no_grad():
        whole, part = sae.encode(x), sae.first(2).encode(x)
    assert part[:, :16].equal(whole[:, :16]) and not part[:, 16:].any() and whole[:, 16:].any()
    assert sae.first(None).encode(x).equal(whole) and sae.first(3).encode(x).equal(whole)
    sae.first(2).save(tmp_path)
    assert SAE.load(tmp_path).encode(x).equal(part)
    threshold = load_file(tmp_path / "sae_weights.safetensors")["threshold"]
    assert (threshold[:16] == sae.running_threshold).all() and (threshold[16:] > 1e38).all()
