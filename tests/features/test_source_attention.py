"""Where an attention feature comes from: by hand, and on tiny models against the SAE's own pre-activation."""

import pytest
import torch

from saelab.errors import FeatureIndexError, ModelError
from saelab.features import source_attention as module
from saelab.features import sources_of
from saelab.features.sampled import Rows
from saelab.features.source_attention import reads_attention, source_attention
from saelab.lm import LanguageModel
from saelab.lm.attention import Attention, attention
from saelab.sae import VARIANTS, sae_config

SITE = "blocks.1.attn.hook_z"
IDS = torch.tensor([0, 5, 9, 200, 9, 31])


@pytest.fixture(scope="module")
def lm(tiny_lm_dir):
    return LanguageModel.load(str(tiny_lm_dir), device="cpu")


def made(site=SITE, variant="topk", **more):
    values = {"variant": variant, "d_in": 32, "d_sae": 24, **({"k": 4} if variant == "topk" else {}), **more}
    sae = VARIANTS[variant](sae_config(values), generator=torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        sae.b_dec.copy_(torch.linspace(-0.1, 0.1, 32))
        if sae.has_encoder:
            sae.b_enc.copy_(torch.linspace(-0.2, 0.3, 24))
    sae.metadata = {"hook_name": site}
    return sae


@torch.no_grad()
@pytest.mark.parametrize("centred", [True, False])
def test_contributions_and_bias_are_the_pre_activation_and_heads_and_tokens_add_up(lm, centred):
    sae = made(apply_b_dec_to_input=centred)
    z = lm.activations(IDS.unsqueeze(0), [SITE])[SITE][0, -1]
    pre = (z - sae.b_dec * centred) @ sae.W_enc + sae.b_enc
    dense = sae.encode(z.unsqueeze(0))[0]
    for feature in range(24):
        found = source_attention(lm, sae, IDS, feature)
        assert found.total == pytest.approx(float(pre[feature]), abs=1e-5)
        assert found.pre_activation == pytest.approx(float(pre[feature]), abs=1e-5)
        assert found.activation == pytest.approx(float(dense[feature]), abs=1e-5)
        assert sum(found.by_token()) == pytest.approx(sum(found.by_head), abs=1e-9)
    assert (len(found.contributions), len(found.contributions[0]), len(found.tokens)) == (4, 6, 6)


@torch.no_grad()
def test_the_weights_are_the_models_own_attention_and_a_token_alone_gives_what_moving_it_alone_gives(lm):
    """Contribution of (head, token) = what is lost of the pre-activation when the head's weight on it is zero."""
    sae, seen = made(), attention(lm, IDS, 1)
    found = source_attention(lm, sae, IDS, 7)
    assert torch.tensor(found.weights).sum(dim=1).tolist() == pytest.approx([1.0] * 4, abs=1e-6)
    pattern = seen.pattern[:, -1].clone()
    pattern[2, 3] = 0.0
    z = torch.einsum("hs,shd->hd", pattern, seen.values).flatten()
    without = float((z - sae.b_dec) @ sae.W_enc[:, 7] + sae.b_enc[7])
    assert found.pre_activation - without == pytest.approx(found.contributions[2][3], abs=1e-5)


def test_two_heads_and_three_tokens_by_hand(lm, monkeypatch):
    """Head 0 takes 1/4 and 3/4 of tokens 0 and 2, head 1 all of token 1; the encoder is (1, 0 | 0, 2)."""
    pattern = torch.zeros(2, 3, 3)
    pattern[0, 2], pattern[1, 2] = torch.tensor([0.25, 0, 0.75]), torch.tensor([0, 1.0, 0])
    values = torch.tensor([[[4.0, 9], [9, 9]], [[9, 9], [9, 3]], [[8, 9], [9, 9]]])  # [token, head, d_head]
    z = torch.einsum("hts,shd->thd", pattern, values)
    monkeypatch.setattr(module, "attention", lambda *_: Attention(pattern, values, z))
    sae = VARIANTS["relu"](sae_config({"variant": "relu", "d_in": 4, "d_sae": 1})).eval()
    with torch.no_grad():
        sae.W_enc.copy_(torch.tensor([[1.0], [0], [0], [2]]))
        sae.b_enc.fill_(-0.5)
        sae.b_dec.copy_(torch.tensor([1.0, 5, 5, 0.25]))
    sae.metadata = {"hook_name": SITE}
    found = source_attention(lm, sae, torch.tensor([1, 2, 3]), 0)
    assert found.contributions == ((1.0, 0.0, 6.0), (0.0, 6.0, 0.0))
    assert (found.by_head, found.by_token(), found.by_token(1)) == ((7.0, 6.0), (1.0, 6.0, 6.0), (0.0, 6.0, 0.0))
    assert found.bias == -2.0  # -0.5 - (1 * 1 + 0.25 * 2)
    assert found.total == found.pre_activation == found.activation == 11.0
    assert [(one.token, one.head, one.weight) for one in found.strongest(2)] == [(2, 0, 0.75), (1, 1, 1.0)]


def test_a_row_of_the_store_is_taken_apart_after_its_own_context(lm):
    token, zeros = IDS[1:].numpy(), torch.zeros(5, dtype=torch.int64).numpy()
    rows = Rows(token, zeros, torch.arange(5).numpy(), zeros, {0: "a"})
    assert sources_of(lm, made(), rows, 3, 4) == source_attention(lm, made(), IDS, 3)  # BOS is token 0


def test_what_does_not_read_z_has_no_encoder_or_no_such_feature_is_refused(lm):
    with pytest.raises(FeatureIndexError, match=r"this one reads blocks\.1\.hook_resid_post"):
        source_attention(lm, made("blocks.1.hook_resid_post"), IDS, 0)
    with pytest.raises(FeatureIndexError, match="has no encoder"):
        source_attention(lm, made(variant="mp"), IDS, 0)
    with pytest.raises(FeatureIndexError, match="there is no feature 24"):
        source_attention(lm, made(), IDS, 24)
    assert [reads_attention(site) for site in (SITE, "blocks.1.hook_attn_out", f"{SITE} + {SITE}")] == [1, 0, 0]


def test_a_model_whose_z_is_something_else_is_refused(lm):
    with lm.edited({SITE: lambda z, start: z + 1}), pytest.raises(ModelError, match="off by 1"):
        attention(lm, IDS, 1)
