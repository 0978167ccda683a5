"""HierarchicalTopK: budgets, their mean by hand and by definition, and fewer features at inference."""

from typing import Any

import pytest
import torch

from saelab.contracts import Batch
from saelab.errors import ConfigError
from saelab.sae import SAE, VARIANTS, sae_config
from saelab.sae.variants.hierarchical_topk import HierarchicalTopKConfig

D, D_SAE = 12, 40


def build(variant: str = "hierarchical_topk", d_in: int = D, d_sae: int = D_SAE, **more) -> Any:
    torch.manual_seed(0)
    return VARIANTS[variant](sae_config({"variant": variant, "d_in": d_in, "d_sae": d_sae, **more}))


def trained(**more) -> tuple[int, ...]:
    return HierarchicalTopKConfig.model_validate({"d_in": 4, "d_sae": 128, **more}).trained


def test_the_loss_is_the_mean_of_what_each_budget_leaves_over_by_hand():
    sae = build(d_in=2, d_sae=3, k=2)
    with torch.no_grad():
        sae.W_dec.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
        sae.W_enc.copy_(sae.W_dec.T)
    x = torch.tensor([[2.0, 3.0]])  # feature 1 is the strongest: alone it leaves (2, 0); both leave nothing
    terms = sae.loss_terms(Batch(x, x), 0)
    assert terms["reconstruction"].item() == (4 / 2 + 0) / 2
    terms["reconstruction"].backward()
    assert sae.W_dec.grad[1].tolist() == [-3.0, 0.0] and not sae.W_dec.grad[[0, 2]].any()


def test_every_budget_from_1_to_k_is_the_mean_over_the_running_sums():
    sae, x = build(k=6, budgets=list(range(1, 7))).double(), torch.randn(9, D, dtype=torch.float64)
    loss = sae.loss_terms(Batch(x, x), 0)["reconstruction"]
    loss.backward()
    other = build(k=6).double()
    pre = torch.relu((x - other.b_dec) @ other.W_enc + other.b_enc)
    top = pre.topk(6, dim=1)  # descending
    sums = (top.values.unsqueeze(2) * other.W_dec[top.indices]).cumsum(dim=1) + other.b_dec  # [batch, k, d]
    wanted = (sums - x.unsqueeze(1)).pow(2).mean()
    wanted.backward()
    torch.testing.assert_close(loss, wanted)
    for name, parameter in sae.named_parameters():
        torch.testing.assert_close(parameter.grad, other.get_parameter(name).grad)


def test_budgets_are_spread_evenly_where_none_are_given():
    assert trained(k=32) == (4, 8, 12, 16, 20, 24, 28, 32)
    assert trained(k=3) == (1, 2, 3)
    assert trained(k=100)[-1] == 100 and len(trained(k=100)) == 8
    assert trained(k=32, budgets=[1, 32]) == (1, 32)


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"budgets": [2, 6]}, r"budgets = \[2, 6\], and k = 8"),
        ({"budgets": [4, 4, 8]}, "must ascend"),
        ({"budgets": [0, 8]}, "from 1 or more"),
        ({"inference_k": 9}, r"inference_k = 9 features per row, but k = 8"),
    ],
)
def test_budgets_that_do_not_fit_are_refused(more, match):
    with pytest.raises(ConfigError, match=match):
        sae_config({"variant": "hierarchical_topk", "d_in": 4, "d_sae": 32, "k": 8, **more})


def test_at_inference_any_smaller_k_is_a_topk_of_the_same_weights(tmp_path):
    sae, x = build(k=8).eval(), torch.randn(97, D)
    few = build("topk", k=3).eval()
    assert sae.at(3).encode(x).equal(few.encode(x))
    assert sae.encode_sparse(x).l0.max() > 3 and sae.at(3).encode_sparse(x).l0.max() == 3
    assert sae.at(3).train().encode_sparse(x).l0.max() > 3  # training goes on with all
    sae.at(3).save(tmp_path)
    assert SAE.load(tmp_path).encode(x).equal(few.encode(x))
    assert '"k": 3' in (tmp_path / "cfg.json").read_text()
