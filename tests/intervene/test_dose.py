"""A dose curve against what steering does one strength at a time."""

import pytest
import torch

from saelab.errors import InterventionError
from saelab.intervene import Steer, Steering, SteerRequest, at_equal_kl, dose_curve, steer, steering_edits
from saelab.intervene.controls import another_feature
from saelab.intervene.dose import Dose, DoseCurve, repetition

PROMPT, MAXIMUM = "def f(x):", 3.0


def curve(lm, sae, **more):
    return dose_curve(lm, sae, Steer(5, 1.0), MAXIMUM, PROMPT, [7, 9], strengths=(2.0, -1.0, 0.0), steps=4, **more)


@pytest.fixture
def found(lm, sae):
    return curve(lm, sae, seeds=2)


def test_every_way_has_every_strength_in_order(found):
    assert [(one.way, one.strength) for one in found.doses] == [
        (way, strength) for way in ("feature", "random", "other") for strength in (-1.0, 0.0, 2.0)
    ]
    assert all(len(one.texts) == 2 for one in found.doses)


def test_the_feature_s_rows_are_those_of_steering_alone(lm, sae, found):
    for one in found.of("feature"):
        steering = Steering(sae, (Steer(5, one.strength),), torch.tensor([MAXIMUM]))
        assert one.texts[1] == steer(lm, [steering], SteerRequest(PROMPT, 4, seed=1)).row("steered").text
        ids = lm.prompt(PROMPT)
        edits = steering_edits(sae, [Steer(5, one.strength)], torch.tensor([MAXIMUM]), ids != lm.bos)
        with lm.edited(edits):
            probability = lm.logits(ids[None])[0, -1].softmax(dim=-1)[[7, 9]].sum().item()
        assert one.target == pytest.approx(probability, rel=1e-4)


def test_strength_0_is_the_model_as_it_is(lm, found):
    for way in ("feature", "random", "other"):
        (nothing,) = [one for one in found.of(way) if one.strength == 0]
        assert nothing.kl == pytest.approx(0, abs=1e-6)
        assert nothing.texts == found.of("feature")[1].texts


def test_controls_move_the_site_as_far_in_other_directions(lm, sae, monkeypatch):
    seen = {}

    def look(model, edits, rows, targets):
        (edit,) = edits.values()
        x = lm.activations(rows, list(edits))[next(iter(edits))]
        seen["moved"] = (edit(x, 0) - x).detach()
        return torch.zeros(len(rows)), torch.zeros(len(rows))

    monkeypatch.setattr("saelab.intervene.dose._next_token", look)
    curve(lm, sae, seeds=1)
    moved = seen["moved"][1:, -1].unflatten(0, (3, 3))  # [way, strength, d]
    far = moved.norm(dim=-1)
    torch.testing.assert_close(far, torch.tensor([MAXIMUM, 0.0, 2 * MAXIMUM]).expand(3, 3), atol=1e-4, rtol=1e-4)
    W = sae.W_dec.detach()[[5, another_feature(sae, 5)]]
    cosines = torch.nn.functional.cosine_similarity(moved[[0, 2]], W[:, None], dim=-1)
    assert cosines[:, 0] == pytest.approx([-1, -1], abs=1e-4) and cosines[:, 2] == pytest.approx([1, 1], abs=1e-4)
    assert torch.nn.functional.cosine_similarity(moved[1, 2], W[0], dim=-1).abs() < 0.9


def test_the_other_feature_is_another_one(sae):
    others = [another_feature(sae, feature) for feature in range(16)]
    assert all(one != feature and 0 <= one < 16 for feature, one in enumerate(others))
    assert others == [another_feature(sae, feature) for feature in range(16)]


def test_repetition_is_the_share_of_3_grams_seen_before():
    assert repetition([1, 2, 3, 1, 2, 3]) == pytest.approx(1 / 4)  # 123 231 312 123
    assert repetition([1, 1, 1, 1, 1]) == pytest.approx(2 / 3)
    assert repetition([1, 2]) == 0


def test_what_cannot_be_steered_is_refused(lm, sae):
    with pytest.raises(InterventionError, match="at least one strength"):
        dose_curve(lm, sae, Steer(5, 1.0), MAXIMUM, PROMPT, [])
    with pytest.raises(InterventionError, match="never fired"):
        dose_curve(lm, sae, Steer(5, 1.0), 0.0, PROMPT, [7])


def test_a_control_is_set_beside_the_feature_where_it_moves_the_prediction_as_far():
    def dose(way, strength, kl, target):
        return Dose(way, strength, target, kl, None, 0.0, ("",))

    doses = (dose("feature", -1.0, 0.5, 0.0), dose("feature", 0.0, 0.0, 0.1), dose("feature", 1.0, 2.0, 0.5),
             dose("random", -1.0, 0.5, 0.1), dose("random", 1.0, 1.0, 0.2),
             dose("other", 1.0, 3.0, 0.4))  # fmt: skip
    random, other = at_equal_kl(DoseCurve("", Steer(5, 1.0), 6, ("a",), 1, doses))
    assert random.feature == pytest.approx(0.3)  # half of the way from 0.1 to 0.5
    assert random.above == pytest.approx(0.1)
    assert (other.feature, other.above) == (None, None)  # the feature never moves it as far
