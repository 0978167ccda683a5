"""RAVEL's counting and unlearning's clamp, by hand; and what a model that knows nothing is told."""

import numpy as np
import pytest
import torch

from saelab.errors import EvalSkipped
from saelab.evals import EVALS, Subject
from saelab.evals.ravel import PROMPTS, at_place, between, facts, prompt
from saelab.evals.unlearning import clamped

SITE = "blocks.1.hook_resid_post"


def test_a_feature_that_tells_the_values_apart_has_all_its_variance_between_them():
    value = np.array(["a", "a", "b", "b"])
    f = np.array([[1.0, 1.0, 0.0, 5.0], [1.0, 0.0, 1.0, 5.0], [3.0, 1.0, 0.0, 5.0], [3.0, 0.0, 1.0, 5.0]])
    assert between(f, value).tolist() == [1, 0, 0, 0]


def test_every_city_has_every_attribute_once():
    cities = facts()
    assert len({city["entity"] for city in cities}) == len(cities) >= 40
    assert all(set(city) == {"entity", *PROMPTS} for city in cities)


def test_the_place_is_that_of_the_entitys_last_token(lm):
    ids, place = prompt(lm, "language", "Oslo")  # one token per byte
    assert lm.decode(ids[: place + 1]).endswith("In Oslo") and lm.decode(ids[place + 1 :]) == " people speak"


def test_an_exchange_touches_one_place_alone(lm):
    ids = lm.prompt("abcdef").unsqueeze(0)
    before = lm.activations(ids, [SITE])[SITE]
    with lm.edited(at_place(SITE, 3, torch.ones(32))):
        after = lm.activations(ids, [SITE])[SITE]
    assert torch.allclose(
        after - before, torch.nn.functional.one_hot(torch.tensor(3), 7)[:, None].float().expand(7, 32)
    )


def test_a_clamp_sets_features_that_fire_and_no_others(identity, lm):
    ids = lm.prompt("abcdef").unsqueeze(0)
    counted = torch.ones_like(ids, dtype=torch.bool)
    counted[0, 0] = False
    before = lm.activations(ids, [SITE])[SITE]
    with lm.edited(clamped(identity, np.array([0]), np.array([7.0]), counted)):
        after = lm.activations(ids, [SITE])[SITE]
    fires = (before[0, :, 0] > 0) & counted[0]  # the identity's feature 0 is the positive part of coordinate 0
    assert torch.allclose(after[0, fires, 0], torch.full_like(after[0, fires, 0], -7))
    assert torch.equal(after[0, ~fires], before[0, ~fires])
    assert torch.equal(after[..., 1:], before[..., 1:])


@pytest.mark.parametrize("name", ["ravel", "unlearning"])
def test_a_model_that_knows_nothing_is_not_asked(name, identity, lm, store):
    with pytest.raises(EvalSkipped, match="the model knows"):
        EVALS[name].run(Subject.of(identity, lm, store), EVALS[name].Config())
