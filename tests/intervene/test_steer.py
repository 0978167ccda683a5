import pytest
import torch

from saelab.errors import InterventionError
from saelab.intervene import Steer, steer, steer_steps, steering_edits

ONE = torch.tensor([3.0])  # the maximum of the one feature that is steered
PROMPT = torch.tensor([False, True, True])  # a BOS and two tokens


def moved(sae, one, x, start=0):
    (edit,) = steering_edits(sae, [one], ONE, PROMPT).values()
    return (edit(x, start) - x)[0]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("add", lambda f: torch.full_like(f, 2 * 3.0)),
        ("scale", lambda f: 2 * f - f),
        ("clamp", lambda f: 2 * 3.0 - f),
    ],
)
def test_each_mode_moves_the_feature_as_its_equation_says(sae, mode, expected):
    x = torch.randn(1, 3, 32, generator=torch.Generator().manual_seed(1))
    f = sae.encode(x[0])[1:, 5]
    change = moved(sae, Steer(5, 2.0, mode), x)
    assert torch.allclose(change[1:], expected(f)[:, None] * sae.W_dec[5], atol=1e-5)


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ("all", [False, True, True, True]),
        ("prompt", [False, True, True, False]),
        ("generated", [False, False, False, True]),
        ("last", [False, False, True, False]),
    ],
)
def test_steering_reaches_the_positions_asked_for_and_never_the_bos(sae, positions, expected):
    change = moved(sae, Steer(5, 1.0, positions=positions), torch.zeros(1, 4, 32))
    assert (change.norm(dim=1) > 0).tolist() == expected


def test_several_features_add_up(sae):
    (edit,) = steering_edits(sae, [Steer(5, 1.0), Steer(6, -1.0)], torch.tensor([3.0, 2.0]), PROMPT).values()
    assert torch.allclose(edit(torch.zeros(1, 3, 32), 0)[0, 1], 3 * sae.W_dec[5] - 2 * sae.W_dec[6], atol=1e-6)


@pytest.mark.parametrize("nothing", [Steer(5, 0.0, "add"), Steer(5, 1.0, "scale")])
def test_steering_by_nothing_changes_no_logit(lm, sae, nothing):
    ids = lm.prompt("def f(x):")
    with lm.edited(steering_edits(sae, [nothing], ONE, ids != lm.bos)):
        steered = lm.logits(ids[None])
    assert torch.allclose(steered, lm.logits(ids[None]), atol=1e-5)


def test_steering_changes_logits(lm, sae):  # or the test above would hold for a steering that does nothing
    ids = lm.prompt("def f(x):")
    with lm.edited(steering_edits(sae, [Steer(5, 2.0)], ONE, ids != lm.bos)):
        steered = lm.logits(ids[None])
    assert (steered - lm.logits(ids[None])).abs().max() > 0.01


def test_the_default_row_is_what_the_model_writes_alone(lm, sae):
    result = steer(lm, sae, [Steer(5, 5.0)], ONE, "import os", steps=8, temperature=1.0, seed=3)
    alone = [step.tokens.item() for step in lm.generate(lm.prompt("import os")[None], 8, temperature=1.0, seed=3)]
    assert list(result.rows[0].tokens) == alone[: len(result.rows[0].tokens)]
    assert [row.name for row in result.rows] == ["default", "steered"]
    assert result.default == lm.decode(result.rows[0].tokens).rstrip("\N{REPLACEMENT CHARACTER}")


def test_steering_by_nothing_writes_the_same_text_with_the_same_random_numbers(lm, sae):
    result = steer(lm, sae, [Steer(5, 0.0)], ONE, "import os", steps=8, temperature=1.0, controls=True)
    default, steered, control = result.rows
    assert default.tokens == steered.tokens == control.tokens
    assert default.logprobs == pytest.approx(steered.logprobs, abs=1e-5)


def test_the_control_moves_as_far_in_another_direction(lm, sae):
    from saelab.intervene.generate import _by_row

    delta = torch.stack([sae.W_dec.detach()[5] * 4] * 3).unsqueeze(1)  # [rows, one token, d]
    default, steered, control = _by_row(sae, seed=0)(delta)
    assert default.abs().max() == 0
    assert torch.equal(steered, delta[1])
    assert control.norm().item() == pytest.approx(delta[2].norm().item(), rel=1e-5)
    assert torch.cosine_similarity(control, steered).abs() < 0.9


def test_each_token_comes_with_its_logprob_and_the_text_so_far(lm, sae):
    steps = list(steer_steps(lm, sae, [Steer(5, 1.0)], ONE, "a", steps=3, temperature=0.0))
    assert [step.number for step in steps] == [0, 1, 2]
    clean = lm.logits(lm.prompt("a")[None])[0, -1].log_softmax(-1)
    assert steps[0].tokens[0] == clean.argmax()
    assert steps[0].logprobs[0] == pytest.approx(clean.max().item(), abs=1e-4)
    assert all(len(step.texts) == 2 for step in steps)


def test_between_two_steps_the_model_is_not_steered(lm, sae):
    ids = lm.prompt("x")
    before = lm.logits(ids[None])
    steps = steer_steps(lm, sae, [Steer(5, 5.0)], ONE, "import", steps=4)
    next(steps)
    assert torch.equal(lm.logits(ids[None]), before)


def test_a_failure_under_steering_leaves_no_hook(lm, sae):
    ids = lm.prompt("x")
    before = lm.logits(ids[None])

    def broken(x, start):
        raise RuntimeError("in the hook")

    with pytest.raises(RuntimeError, match="in the hook"), lm.edited({"blocks.1.hook_resid_post": broken}):
        lm.logits(ids[None])
    assert torch.equal(lm.logits(ids[None]), before)


@pytest.mark.parametrize("strength", [float("nan"), float("inf"), 1e6, -1e6])
def test_a_strength_that_is_no_number_or_beyond_reason_is_refused(strength):
    with pytest.raises(InterventionError, match=r"from -1000 to 1000"):
        Steer(5, strength)


def test_an_unknown_mode_or_place_is_refused():
    with pytest.raises(InterventionError, match="no mode 'push': use add, scale, clamp"):
        Steer(5, 1.0, mode="push")
    with pytest.raises(InterventionError, match="no positions 'first': use all, prompt, generated, last"):
        Steer(5, 1.0, positions="first")


def test_a_feature_that_never_fired_cannot_be_steered_in_units_of_its_maximum(sae):
    with pytest.raises(InterventionError, match="feature 5 never fired"):
        steering_edits(sae, [Steer(5, 1.0)], torch.tensor([0.0]), PROMPT)


def test_as_many_maxima_as_features_are_needed(sae):
    with pytest.raises(InterventionError, match="1 features to steer, but 2 maxima"):
        steering_edits(sae, [Steer(5, 1.0)], torch.tensor([1.0, 2.0]), PROMPT)
