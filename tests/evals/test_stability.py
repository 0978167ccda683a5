"""The same features in another order are all found again; random ones at the floor."""

import copy

import pytest
import torch
from bed_rows import random_rows

from saelab.errors import EvalSkipped
from saelab.evals import EVALS, Subject
from saelab.evals.stability import like, matched

stability = EVALS["stability"]


def test_a_reordered_dictionary_is_found_again_whole():
    W = torch.from_numpy(random_rows(40, 16))
    found = matched(W, 3 * W[torch.randperm(40, generator=torch.Generator().manual_seed(1))])
    assert (found.matched_cosine, found.shared, found.mmcs) == pytest.approx((1, 1, 1))


def test_a_feature_and_its_opposite_are_two_features():
    assert matched(torch.eye(4), -torch.eye(4)).shared == 0


def test_random_dictionaries_of_64_by_512_match_as_measured_elsewhere():
    """0.378 is the mean |cos| of the spec's table; signed cosines match a little worse."""
    found = matched(torch.from_numpy(random_rows(512, 64)), torch.from_numpy(random_rows(512, 64, seed=1)))
    assert 0.33 < found.matched_cosine < 0.38
    assert found.shared == 0


def test_rows_alike_have_the_covariance_of_the_others():
    W = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2.0, 5.0]) + 1
    made = like(W, torch.Generator().manual_seed(1))
    assert torch.allclose(made.T.cov(), W.T.cov(), atol=1.0) and torch.allclose(made.mean(0), W.mean(0), atol=0.3)


def test_another_seed_stands_beside_its_floor_and_a_lonely_sae_is_refused(identity, lm, store):
    alone = Subject.of(identity, lm, store)
    with pytest.raises(EvalSkipped, match="another checkpoint of the same site"):
        stability.run(alone, stability.Config())
    other = copy.deepcopy(identity)
    other.W_dec.data = other.W_dec.data.flip(0)
    beside = Subject(identity, "one", alone.open_lm, alone.open_store, [("flipped", other)])
    figures = {f.metric: f.value for f in stability.run(beside, stability.Config()).figures()}
    assert figures["shared"] == 1 and figures["matched_cosine"] == pytest.approx(1)
    assert figures["shared_floor"] < 0.1 and figures["matched_cosine_floor"] < 0.7


def test_an_sae_of_another_site_is_no_other_seed(identity, lm, store):
    other = copy.deepcopy(identity)
    other.metadata = {"hook_name": "blocks.0.hook_resid_post"}
    subject = Subject.of(identity, lm, store)
    subject.others = [("elsewhere", other)]
    with pytest.raises(EvalSkipped):
        stability.run(subject, stability.Config())
