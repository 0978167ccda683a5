"""Scores of codes whose right answer can be written down."""

import pytest
import torch

from saelab.sae import VARIANTS, sae_config
from saelab.synthetic import bed, score
from saelab.synthetic.scores import match, max_cosine, mcc_floor, parent_scores, support, uniqueness


def truth(one):
    """An SAE whose dictionary is the bed's own, with thresholds that let through what fires."""
    cfg = sae_config({"variant": "topk", "d_in": one.d, "d_sae": one.n, "k": one.n, "apply_b_dec_to_input": True})
    sae = VARIANTS["topk"](cfg)
    with torch.no_grad():
        sae.W_dec.copy_(one.features)
        sae.W_enc.copy_(one.features.t())
        sae.b_enc.fill_(-1e-4)
    return sae.eval()


def test_the_true_dictionary_scores_1():
    one = bed({"bed": "tree"})
    scores = score(truth(one), one)
    assert scores.mcc == pytest.approx(1.0, abs=1e-5) and scores.uniqueness == 1.0
    assert scores.f1 == scores.precision == scores.recall == 1.0
    assert scores.parent_recall == scores.parent_f1 == 1.0
    assert scores.l0 == scores.true_l0 and scores.fvu < 1e-6 and scores.shrinkage == pytest.approx(1.0, abs=1e-3)
    assert scores.max_cosine < 1e-5 and scores.dead_share == 0


def test_random_directions_score_the_floor():
    """Floors as measured with another program: 0.252 for 256 against 256 in 128 dimensions, 0.281 for 40 in 64."""
    assert mcc_floor(256, bed({"bed": "easy"}).features) == pytest.approx(0.252, abs=0.005)
    assert mcc_floor(40, bed({"bed": "tree"}).features) == pytest.approx(0.281, abs=0.015)


def test_matching_is_one_to_one_and_best_in_sum():
    features = torch.eye(2)
    pairs = match(torch.tensor([[0.8, 0.6], [1.0, 0.0], [0.0, -1.0]]), features)
    assert sorted(zip(pairs.latent.tolist(), pairs.feature.tolist(), strict=True)) == [(1, 0), (2, 1)]
    assert pairs.mean == 1.0


def test_what_is_missed_and_what_is_said_too_often_count():
    true = torch.tensor([[1, 0], [1, 0], [0, 1], [0, 0]], dtype=torch.bool)
    fires = torch.tensor([[1, 0], [0, 0], [1, 0], [0, 0]], dtype=torch.bool)  # one hit, two misses, one false
    found = support(fires, true, match(torch.eye(2), torch.eye(2)))
    assert found == {"precision": 0.5, "recall": pytest.approx(1 / 3), "f1": pytest.approx(0.4)}


def test_a_parent_hidden_in_its_children_is_seen():
    parent = torch.tensor([-1, 0])
    true = torch.tensor([[1, 0], [1, 1], [1, 1], [0, 0]], dtype=torch.bool)
    absorbed = torch.tensor([[1, 0], [0, 1], [0, 1], [0, 0]], dtype=torch.bool)  # fires for the parent alone
    recall, _ = parent_scores(absorbed, true, parent)
    assert recall == 1.0  # the second latent tells the parent better: F1 0.8 against 0.5
    recall, value = parent_scores(absorbed[:, :1], true, parent)
    assert recall == 0.0 and value == pytest.approx(0.5)
    assert parent_scores(absorbed, true, torch.tensor([-1, -1])) is None


def test_copies_are_not_unique_and_are_each_other_s_nearest():
    W = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert uniqueness(W, torch.eye(2)) == 1.0
    assert uniqueness(W[:2], torch.eye(2)) == 0.5
    assert max_cosine(W) == pytest.approx(2 / 3)
