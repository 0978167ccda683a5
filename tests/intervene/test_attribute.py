"""Gradients against finite differences, ablations against the model run by hand, correlations by hand."""

import json
from dataclasses import asdict

import pytest
import torch

from saelab.errors import InterventionError
from saelab.intervene import Target, ablate, attribute, one_token, spliced
from saelab.intervene.attribute import correlations

LAST = "blocks.2.hook_resid_post"
TARGETS = [Target("logit", token=40), Target("difference", 5, 40, 41), Target("loss", 7), Target("loss")]


@pytest.fixture
def ids(lm):
    return lm.prompt("for i in range(10):")


def value(lm, ids, target, edits=None):
    """The target, from the model's own functions."""
    with lm.edited(edits or {}):
        logits, losses = lm.logits(ids[None])[0], lm.loss(ids[None])[0]
    if target.kind == "loss":
        return losses.mean() if target.position is None else losses[target.position]
    at = logits[-1 if target.position is None else target.position]
    return at[target.token] - (at[target.against] if target.kind == "difference" else 0)


def codes(lm, sae, ids):
    """f of all features at every token, none at the BOS."""
    site = sae.metadata["hook_name"]
    f = sae.encode(lm.activations(ids[None], [site])[site][0]).detach()
    f[0] = 0
    return f


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("keep_error", [True, False])
def test_the_gradient_is_that_of_finite_differences(lm, sae, ids, target, keep_error):
    f, (site, *_) = codes(lm, sae, ids), [sae.metadata["hook_name"]]
    base = {} if keep_error else spliced(sae, (ids != lm.bos)[None])
    found = attribute(lm, sae, ids, target, keep_error=keep_error)
    assert len(found.features) > 4
    for one in found.features[:4]:

        def moved(share, feature=one.feature):
            change = share * f[:, feature, None] * sae.W_dec.detach()[feature]
            after = {site: lambda x, start: (base[site](x, start) if base else x) + change}
            return value(lm, ids, target, after)

        slope = (moved(0.02) - moved(-0.02)) / 0.04  # d target / d share, which is f df summed over tokens
        assert one.attribution == pytest.approx(slope.item(), abs=2e-3)
        assert one.attribution == pytest.approx(sum(one.by_token), abs=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_the_ablated_number_is_what_the_target_loses_without_the_feature(lm, sae, ids, target):
    f, site = codes(lm, sae, ids), sae.metadata["hook_name"]
    found = attribute(lm, sae, ids, target)
    for one in found.features[:3]:
        without = {site: lambda x, start, i=one.feature: x - f[:, i, None] * sae.W_dec.detach()[i]}
        lost = value(lm, ids, target) - value(lm, ids, target, without)
        assert one.ablated == pytest.approx(lost.item(), abs=1e-4)
        assert one.activation == pytest.approx(f[:, one.feature].max().item(), rel=1e-4)
        assert one.tokens == (f[:, one.feature] > 0).sum()
    assert found.value == pytest.approx(value(lm, ids, target).item(), abs=1e-4) == found.unedited


def test_the_error_term_s_row_is_the_splice(lm, sae, ids):
    target = Target("logit", token=40)
    found = attribute(lm, sae, ids, target)
    lost = value(lm, ids, target) - value(lm, ids, target, spliced(sae, (ids != lm.bos)[None]))
    assert found.error.ablated == pytest.approx(lost.item(), abs=1e-4)
    dropped = attribute(lm, sae, ids, target, keep_error=False)
    assert dropped.error is None
    assert dropped.value == pytest.approx((value(lm, ids, target) - lost).item(), abs=1e-4)
    assert dropped.unedited == pytest.approx(found.value, abs=1e-5)


def test_features_error_and_bias_make_up_the_whole_row(lm, sae, ids):
    """Where the model is linear from the site on, so is attribution: here, the residual at the site itself."""
    site = sae.metadata["hook_name"]
    x = lm.activations(ids[None], [site])[site][0]
    found = attribute(lm, sae, ids, Target("logit", token=40), verify=0)
    gradient = lm.gradient(ids[None], site, lambda logits: logits[0, -1, 40])[0]
    whole = ((x - sae.b_dec.detach()) * gradient)[1:].sum()
    parts = sum(one.attribution for one in found.features) + found.error.attribution
    assert parts == pytest.approx(whole.item(), abs=1e-3)


def test_features_come_by_falling_size_and_the_first_are_verified(lm, sae, ids):
    found = attribute(lm, sae, ids, Target(), verify=3, limit=6)
    sizes = [abs(one.attribution) for one in found.features]
    assert sizes == sorted(sizes, reverse=True) and len(sizes) == 6
    assert [one.ablated is not None for one in found.features] == [True] * 3 + [False] * 3
    assert found.verified == 3 and -1 <= found.pearson <= 1
    assert found.target.startswith("logit of ") and found.target.endswith(f"after token {len(ids) - 1}")
    assert found.table()[1][-1][0] == "error"
    json.dumps(asdict(found))


def test_an_ablation_here_is_the_ablation_of_the_ablate_function(lm, sae, ids):
    target = Target("logit", token=40)
    one = attribute(lm, sae, ids, target, verify=1).features[0]
    assert one.ablated == pytest.approx(-ablate(lm, sae, [one.feature], ids, target=40).full.logit[-1], abs=1e-4)


@pytest.mark.parametrize("site", ["blocks.1.hook_resid_mid", "blocks.1.attn.hook_z", LAST])
def test_other_kinds_of_site_agree_with_finite_differences(lm, sae_at, ids, site):
    sae, target = sae_at(site), Target("logit", token=40)
    f = codes(lm, sae, ids)
    for one in attribute(lm, sae, ids, target).features[:3]:

        def moved(share, feature=one.feature):
            change = share * f[:, feature, None] * sae.W_dec.detach()[feature]
            return value(lm, ids, target, {site: lambda x, start: x + change})

        assert one.attribution == pytest.approx(((moved(0.02) - moved(-0.02)) / 0.04).item(), abs=2e-3)


def test_a_transcoder_is_credited_for_what_it_writes(lm, transcoder, ids):
    found = attribute(lm, transcoder, ids, Target("logit", token=40))
    f = codes(lm, transcoder, ids)
    one = found.features[0]
    change = f[:, one.feature, None] * transcoder.W_dec.detach()[one.feature]
    without = {"blocks.1.hook_mlp_out": lambda y, start: y - change}
    target = Target("logit", token=40)
    assert one.ablated == pytest.approx((value(lm, ids, target) - value(lm, ids, target, without)).item(), abs=1e-4)


def test_correlations_by_hand():
    assert correlations([(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)]) == (pytest.approx(1), pytest.approx(1))
    pearson, spearman = correlations([(1.0, 1.0), (2.0, 4.0), (3.0, 9.0), (4.0, -16.0)])
    assert spearman == pytest.approx(1 - 6 * (1 + 1 + 1 + 9) / (4 * 15))  # ranks 2 3 4 1 against 1 2 3 4
    assert pearson != pytest.approx(spearman)
    assert correlations([(1.0, 1.0), (2.0, 2.0)]) == (None, None)
    assert correlations([(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]) == (None, None)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Target("noise"), "no target 'noise': use logit, difference, loss"),
        (Target("logit", 99), "no position 99"),
        (Target("logit", token=10**6), "no token 1000000"),
        (Target("difference", token=3), "needs two tokens"),
        (Target("loss", -1), "no next token follows"),
    ],
)
def test_a_target_the_text_does_not_have_is_refused(lm, sae, ids, target, words):
    with pytest.raises(InterventionError, match=words):
        attribute(lm, sae, ids, target)


def test_a_text_too_long_and_one_in_which_nothing_fires_are_refused(lm, sae, ids):
    with pytest.raises(InterventionError, match="the text has 41 tokens, but .* reads 32"):
        attribute(lm, sae, lm.prompt("a" * 40), Target())
    sae.b_enc.data[:] = -1000
    with pytest.raises(InterventionError, match="no feature fires"):
        attribute(lm, sae, ids, Target())


def test_a_word_of_several_tokens_is_refused_with_its_pieces(lm):
    assert one_token(lm, "a") == lm.encode("a")[0]
    with pytest.raises(InterventionError, match="'ab' is 2 tokens of .* not one: 'a', 'b'"):
        one_token(lm, "ab")


def test_attribution_leaves_the_model_as_it_was(lm, sae, ids):
    before = lm.logits(ids[None])
    attribute(lm, sae, ids, Target("loss"))
    assert torch.equal(lm.logits(ids[None]), before)
