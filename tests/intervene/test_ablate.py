import json
from dataclasses import asdict

import pytest
import torch

from saelab.errors import InterventionError, SiteError
from saelab.intervene import ablate, replaced, spliced
from saelab.metrics import kl_divergence

LAST = "blocks.2.hook_resid_post"


def busiest(lm, sae, ids) -> int:
    """The feature that fires on most tokens behind the BOS."""
    site = sae.metadata["hook_name"]
    return int((sae.encode(lm.activations(ids[None], [site])[site][0, 1:]) > 0).sum(0).argmax())


@pytest.fixture
def ids(lm):
    return lm.prompt("for i in range(10):")


def test_the_direct_effect_is_the_full_effect_behind_the_last_layer(lm, sae_at, ids):
    sae = sae_at(LAST)
    result = ablate(lm, sae, [busiest(lm, sae, ids)], ids)
    assert result.full.kl == pytest.approx(result.direct.kl, abs=1e-4)
    assert result.full.logit[:-1] == pytest.approx(result.direct.logit[:-1], abs=1e-4)
    assert max(result.full.kl) > 1e-3  # it did change something


def test_before_the_last_layer_the_two_differ(lm, sae, ids):
    result = ablate(lm, sae, [busiest(lm, sae, ids)], ids)
    assert result.full.logit[:-1] != pytest.approx(result.direct.logit[:-1], abs=1e-4)


def test_the_full_effect_is_the_loss_with_the_feature_taken_from_the_row(lm, sae, ids):
    feature, site = busiest(lm, sae, ids), sae.metadata["hook_name"]

    def take(x, start):
        f = sae.encode(x[0])[:, feature]
        f[0] = 0  # the BOS stays
        return x - f[:, None] * sae.W_dec[feature]

    with lm.edited({site: take}):
        without = lm.loss(ids[None])[0]
    assert ablate(lm, sae, [feature], ids).full.loss[:-1] == pytest.approx(
        (without - lm.loss(ids[None])[0]).tolist(), abs=1e-4
    )


def test_a_feature_that_does_not_fire_has_no_effect(lm, sae, ids):
    site = sae.metadata["hook_name"]
    fires = (sae.encode(lm.activations(ids[None], [site])[site][0, 1:]) > 0).any(0)
    sae.b_enc.data[~fires] = -100.0  # make sure there is one
    sae.b_enc.data[3] = -100.0
    result = ablate(lm, sae, [3], ids)
    for effect in (result.full, result.direct):
        assert max(map(abs, effect.kl)) < 1e-5
        assert max(abs(logit) for logit in effect.logit if logit is not None) < 1e-5


def test_ablating_one_position_leaves_what_comes_before_as_it_was(lm, sae, ids):
    feature, site = busiest(lm, sae, ids), sae.metadata["hook_name"]
    f = sae.encode(lm.activations(ids[None], [site])[site][0])[:, feature]
    position = int(f[6:].argmax()) + 6
    result = ablate(lm, sae, [feature], ids, position=position)
    assert max(result.full.kl[:position]) < 1e-6 < result.full.kl[position]
    assert [kl > 1e-6 for kl in result.direct.kl] == [i == position for i in range(len(ids))]


def test_mean_ablation_sets_the_feature_to_its_mean(lm, sae, ids):
    feature = busiest(lm, sae, ids)
    position = len(ids) - 1
    f = ablate(lm, sae, [feature], ids, position=position).activations[position][0]
    unchanged = ablate(lm, sae, [feature], ids, mode="mean", means=torch.tensor([f]), position=position)
    assert max(unchanged.full.kl) < 1e-6
    raised = ablate(lm, sae, [feature], ids, mode="mean", means=torch.tensor([f + 1.0]), position=position)
    assert raised.full.kl[position] > 1e-6


def test_a_transcoders_direct_effect_goes_through_its_output_site(lm, transcoder, ids):
    transcoder.metadata = {"hook_name": "blocks.2.mlp.hook_in", "hook_name_out": "blocks.2.hook_mlp_out"}
    result = ablate(lm, transcoder, [busiest(lm, transcoder, ids)], ids)
    assert result.full.kl == pytest.approx(result.direct.kl, abs=1e-4)  # nothing reads the last MLP's output
    assert max(result.full.kl) > 1e-5


def test_attention_z_goes_out_through_the_heads(lm, sae_at, ids):
    sae = sae_at("blocks.2.attn.hook_z")
    result = ablate(lm, sae, [busiest(lm, sae, ids)], ids)
    assert max(result.direct.kl) > 0


def test_rows_name_each_token_and_what_follows_it(lm, sae, ids):
    result = ablate(lm, sae, [busiest(lm, sae, ids)], ids)
    rows = result.rows()
    assert [row[0] for row in rows][1:4] == ["f", "o", "r"]
    assert [row[2] for row in rows][:3] == ["f", "o", "r"]
    assert rows[-1][2:4] == (None, None)
    json.dumps(asdict(result))


def test_the_tokens_an_ablation_raises_most_come_first(lm, sae, ids):
    result = ablate(lm, sae, [busiest(lm, sae, ids)], ids, top=3)
    for position in range(1, len(ids)):
        raised = [change.logit for change in result.full.raised[position]]
        lowered = [change.logit for change in result.full.lowered[position]]
        assert len(raised) == 3
        assert raised == sorted(raised, reverse=True)
        assert lowered == sorted(lowered)


def test_mean_ablation_without_means_is_refused(lm, sae, ids):
    with pytest.raises(InterventionError, match="needs as many mean activations; none were given"):
        ablate(lm, sae, [1], ids, mode="mean")


def test_a_position_outside_the_text_is_refused(lm, sae, ids):
    with pytest.raises(InterventionError, match=f"no position 99: the text has {len(ids)} tokens"):
        ablate(lm, sae, [1], ids, position=99)


def test_a_site_the_model_does_not_have_is_refused(lm, sae_at, ids):
    with pytest.raises(SiteError, match=r"blocks\.7"):
        ablate(lm, sae_at("blocks.7.hook_resid_post"), [1], ids)


def test_an_unknown_ablation_is_refused(lm, sae, ids):
    with pytest.raises(InterventionError, match="no ablation 'noise': use zero, mean, firing-mean, resample"):
        ablate(lm, sae, [1], ids, mode="noise")


def test_ablating_nothing_changes_nothing_whatever_the_rest_is(lm, sae, ids):
    sae.b_enc.data[3] = -100.0  # it never fires
    for keep in (True, False):
        result = ablate(lm, sae, [3], ids, keep_error=keep)
        for effect in (result.full, result.direct):
            assert max(map(abs, effect.kl)) < 1e-5
            assert max(abs(change) for change in (*effect.logit[:-1], *effect.loss[:-1])) < 1e-5


def test_all_features_ablated_without_the_error_is_the_run_of_an_sae_that_gives_nothing(lm, sae, ids):
    site = sae.metadata["hook_name"]
    result = ablate(lm, sae, list(range(16)), ids, keep_error=False)
    counts = (ids != lm.bos)[None]
    with lm.edited(replaced(site, sae.b_dec.detach(), counts)):
        nothing = lm.logits(ids[None])[0]
    with lm.edited(spliced(sae, counts)):
        reference = lm.logits(ids[None])[0]
    assert result.full.kl == pytest.approx(kl_divergence(reference, nothing).tolist(), abs=1e-4)
    assert result.splice_kl == pytest.approx(kl_divergence(lm.logits(ids[None])[0], reference).tolist(), abs=1e-4)
    change = (nothing - reference)[:-1].gather(1, ids[1:, None])[:, 0]
    assert result.full.logit[:-1] == pytest.approx(change.tolist(), abs=1e-4)
    assert max(result.full.kl) > 1e-3


@pytest.mark.parametrize("keep_error", [True, False])
@pytest.mark.parametrize("mode", ["zero", "mean", "firing-mean", "resample"])
def test_the_last_residual_s_direct_effect_is_its_full_effect_in_every_mode(lm, sae_at, ids, mode, keep_error):
    sae = sae_at(LAST)
    more = {"means": torch.tensor([1.5])} if mode.endswith("mean") else {"source": lm.prompt("import os, sys")}
    result = ablate(lm, sae, [busiest(lm, sae, ids)], ids, mode=mode, keep_error=keep_error, **more)
    assert result.full.kl == pytest.approx(result.direct.kl, abs=1e-4)
    assert result.full.logit[:-1] == pytest.approx(result.direct.logit[:-1], abs=1e-4)


def test_resampling_puts_in_activations_of_the_other_text(lm, sae, ids):
    site, feature, source = sae.metadata["hook_name"], busiest(lm, sae, ids), lm.prompt("import os, sys")
    there = sae.encode(lm.activations(source[None], [site])[site][0, 1:]).detach()[:, feature]
    drawn = torch.randint(len(there), (len(ids),), generator=torch.Generator().manual_seed(5))
    f = sae.encode(lm.activations(ids[None], [site])[site][0]).detach()[:, feature]
    change = ((there[drawn] - f) * (ids != lm.bos))[:, None] * sae.W_dec.detach()[feature]
    with lm.edited({site: lambda x, start: x + change}):
        resampled = lm.logits(ids[None])[0]
    result = ablate(lm, sae, [feature], ids, mode="resample", source=source, seed=5)
    assert result.full.kl == pytest.approx(kl_divergence(lm.logits(ids[None])[0], resampled).tolist(), abs=1e-4)
    again, other = (ablate(lm, sae, [feature], ids, mode="resample", source=source, seed=seed) for seed in (5, 6))
    assert again == result != other


def test_a_token_that_is_named_is_followed_at_every_position(lm, sae, ids):
    feature = busiest(lm, sae, ids)
    result = ablate(lm, sae, [feature], ids, target=40, top=lm.n_vocab)
    last = next(one.logit for one in result.full.raised[-1] if one.id == 40)
    assert result.full.logit[-1] == pytest.approx(last, abs=1e-6)
    assert result.target == lm.token_strings([40])[0]


def test_a_text_the_model_cannot_read_at_once_is_refused(lm, sae):
    with pytest.raises(InterventionError, match="the text has 41 tokens, but .* reads 32 at once"):
        ablate(lm, sae, [1], lm.prompt("a" * 40))


def test_resampling_from_nothing_is_refused(lm, sae, ids):
    with pytest.raises(InterventionError, match="takes activations from another text: give one"):
        ablate(lm, sae, [1], ids, mode="resample")
    with pytest.raises(InterventionError, match="the other text has no tokens"):
        ablate(lm, sae, [1], ids, mode="resample", source=lm.prompt(""))
