import json

import pytest
import torch

from saelab.contracts import Codes, Silent
from saelab.errors import CheckpointError, EvalError, StoreMismatch
from saelab.evals import EVALS
from saelab.evals.fidelity import firing_counts
from saelab.evals.heldout import heldout_tokens

SITE = "blocks.1.hook_resid_post"


def measure(sae, lm, store, **changes):
    fidelity = EVALS["fidelity"]
    return fidelity.measure(sae, lm, store, fidelity.Config.model_validate({"tokens": 150, **changes}))


def test_an_sae_that_gives_its_input_back_recovers_everything(identity, lm, store):
    result = measure(identity, lm, store)
    assert result.fvu == pytest.approx(0, abs=1e-6)
    assert result.cosine == pytest.approx(1, abs=1e-6)
    figures = (result.ce_recovered, result.ce_recovered_mean, result.kl_recovered, result.kl_recovered_mean)
    assert figures == pytest.approx((1, 1, 1, 1), abs=1e-4)
    assert result.ce_spliced == pytest.approx(result.ce, abs=1e-5)
    assert result.l0 == 32  # each coordinate is above or below zero
    assert result.tokens == 150


def test_an_sae_that_gives_nothing_back_is_zero_ablation(zero, lm, store):
    result = measure(zero, lm, store)
    assert (result.ce_recovered, result.kl_recovered) == pytest.approx((0, 0), abs=1e-4)
    assert result.ce_spliced == pytest.approx(result.ce_zero, abs=1e-5)
    assert result.fvu >= 1


def test_an_sae_that_gives_the_mean_row_back_is_mean_ablation(zero, lm, store):
    batches = heldout_tokens(lm, store, 150, 4, Silent())
    rows = torch.cat([lm.activations(b.ids, [SITE])[SITE][b.counted] for b in batches])
    zero.cfg = zero.cfg.model_copy(update={"apply_b_dec_to_input": False})
    zero.b_dec.data = rows.mean(dim=0)
    result = measure(zero, lm, store)
    assert result.fvu == pytest.approx(1, abs=1e-5)
    assert result.mse == pytest.approx((rows - rows.mean(dim=0)).pow(2).sum(dim=1).mean().item(), rel=1e-4)
    assert (result.ce_recovered_mean, result.kl_recovered_mean) == pytest.approx((0, 0), abs=1e-4)


def test_the_loss_is_that_of_counted_predictions(identity, lm, store):
    total = pairs = 0.0
    for batch in heldout_tokens(lm, store, 150, 1, Silent()):  # one context at a time, no padding
        use = (batch.counted[:, :-1] & batch.counted[:, 1:])[0]
        total += lm.loss(batch.ids)[0][use].sum().item()
        pairs += int(use.sum())
    result = measure(identity, lm, store)
    assert result.predictions == pairs
    assert result.ce == pytest.approx(total / pairs, rel=1e-5)


def test_the_bos_is_neither_counted_nor_replaced(identity, lm, store):
    (batch, *_) = heldout_tokens(lm, store, 150, 16, Silent())
    assert not batch.counted[:, 0].any()
    assert (batch.ids[batch.counted] != lm.bos).all()


def test_firing_counts_leave_out_padding_and_zeros():
    codes = Codes(torch.tensor([[1, 3], [1, 0]]), torch.tensor([[0.5, 0.0], [2.0, 9.0]]), 4, torch.tensor([2, 1]))
    assert firing_counts(codes).tolist() == [0, 2, 0, 0]


def test_dead_features_and_densities_are_those_of_the_sample(identity, lm, store):
    identity.b_enc.data[:5] = -1e6
    result = measure(identity, lm, store)
    assert result.dead >= 5
    assert result.dead_share == result.dead / 64
    assert sum(result.density.counts) == 64 - result.dead
    assert result.density.quantiles["0"] == 0


def test_the_result_can_be_shown_and_kept(identity, lm, store):
    result = measure(identity, lm, store)
    columns, rows = result.table()
    assert all(len(row) == len(columns) for row in rows)
    assert {row[0]: row[1] for row in rows}["CE recovered"] == result.ce_recovered
    assert json.loads(json.dumps(result.to_json()))["tokens"] == 150
    assert result.summary()[0].startswith("CE recovered 1.000")


def test_another_model_than_the_stores_is_refused(identity, lm, store):
    store.model["fingerprint"], right = "other", store.model["fingerprint"]
    try:
        with pytest.raises(StoreMismatch, match="made by another model"):
            measure(identity, lm, store)
    finally:
        store.model["fingerprint"] = right


def test_an_sae_of_another_width_is_refused(lm, store, identity):
    identity.cfg = identity.cfg.model_copy(update={"d_in": 16})
    with pytest.raises(CheckpointError, match="reads rows of width 16, but blocks.1.hook_resid_post of .* has 32"):
        measure(identity, lm, store)


def test_a_corpus_without_a_heldout_document_is_refused(lm, make_store, identity):
    with pytest.raises(EvalError, match="no held-out document"):
        measure(identity, lm, make_store("x = {n}\n", heldout=0))


def test_a_corpus_that_changed_since_the_harvest_is_told(identity, lm, store):
    notes = []

    class Notes(Silent):
        def note(self, text):
            notes.append(text)

    store.corpus["fingerprint"], right = "other", store.corpus["fingerprint"]
    try:
        heldout_tokens(lm, store, 10, 4, Notes())
    finally:
        store.corpus["fingerprint"] = right
    assert "is not the text" in notes[0]
