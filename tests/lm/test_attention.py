"""Pattern and values against z, for a model whose heads have values of their own and one whose heads share them."""

import pytest
import torch

from saelab.lm.attention import attention


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_patterns_times_values_are_z(models, ids, family):
    lm = models[family]
    found = attention(lm, ids[0], 1)
    z = lm.activations(ids[:1], ["attn_z.1"])["blocks.1.attn.hook_z"][0]
    moved = torch.einsum("hts,shd->thd", found.pattern, found.values)
    torch.testing.assert_close(moved.flatten(1), z, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.pattern.sum(dim=-1), torch.ones(4, 7))
    assert found.pattern.triu(1).abs().max() == 0  # no token looks ahead
    shared = torch.equal(found.values[:, 0], found.values[:, 1])
    assert shared == (family == "llama")
