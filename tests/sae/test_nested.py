"""What holds for all variants whose codes are nested: with one code they are what they come from."""

from typing import Any

import pytest
import torch

from saelab.contracts import Batch
from saelab.errors import ConfigError
from saelab.sae import SAE, VARIANTS, sae_config
from saelab.sae.nested import with_settings
from saelab.train import OptimiserConfig
from saelab.train.optimise import Optimiser

D, D_SAE, BATCH, STEPS, RATE = 12, 40, 128, 50, 3e-3


def build(variant: str, **more) -> Any:
    torch.manual_seed(0)
    return VARIANTS[variant](sae_config({"variant": variant, "d_in": D, "d_sae": D_SAE, "k": 3, **more}))


def curve(sae: SAE) -> list[float]:
    """The loss of every step of a short run in fp64, a quarter of the features dead from the start."""
    sae.double().tokens_since_fired[: D_SAE // 4], sae.dead_after = 10**9, 10**8
    optimiser, losses = Optimiser(sae, OptimiserConfig.model_validate({"lr": RATE})), []
    for step in range(STEPS):
        torch.manual_seed(step)
        x = torch.randn(BATCH, D, dtype=torch.float64)
        with optimiser.gradients():
            loss = torch.stack(list(sae.loss_terms(Batch(x, x), step).values())).sum()
            loss.backward()
        optimiser.step(RATE, step)
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(
    ("plain", "one"),
    [
        ("batchtopk", {"variant": "matryoshka", "groups": [1.0]}),
        ("batchtopk", {"variant": "matryoshka", "groups": [D_SAE], "prefixes": "random"}),
        ("topk", {"variant": "hierarchical_topk", "budgets": [3]}),
    ],
    ids=["one group", "one random prefix", "one budget"],
)
def test_one_code_is_the_variant_it_comes_from_step_by_step(plain, one):
    """The first loss to the bit: the same operations. Its gradient is taken by another one (levels, not features, in
    order), which rounds by 1e-16 elsewhere; 50 steps of Adam make less than 1e-9 of that."""
    nested, single = build(**one), build(plain)
    mine, theirs = curve(nested), curve(single)
    assert mine[0] == theirs[0]
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=0)
    for name, tensor in single.state_dict().items():
        torch.testing.assert_close(nested.state_dict()[name], tensor, rtol=1e-7, atol=1e-9)


def test_other_settings_are_checked_and_share_the_weights():
    sae = build("hierarchical_topk").eval()
    few = with_settings(sae, inference_k=1)
    assert few.W_enc is sae.W_enc and sae.cfg.inference_k is None and not few.training
    assert few.train().training and not sae.training
    with pytest.raises(ConfigError, match="inference_k = 4"):
        with_settings(sae, inference_k=4)
