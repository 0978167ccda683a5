import pytest
import torch

from saelab.cli import ablate as cli_ablate
from saelab.cli import steer as cli_steer
from saelab.errors import InterventionError
from saelab.intervene import Steer, Steering, SteerRequest, steer, steer_steps, steering_edits
from saelab.intervene.ablate import MODES as ABLATIONS
from saelab.intervene.controls import another_feature
from saelab.intervene.generate import _by_row
from saelab.intervene.modes import MODES
from saelab.intervene.steer import POSITIONS

ONE = torch.tensor([3.0])  # the maximum of the one feature that is steered
PROMPT = torch.tensor([False, True, True])  # a BOS and two tokens


def by(sae, *steers):
    return [Steering(sae, steers, ONE.expand(len(steers)))]


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


@pytest.mark.parametrize("strength", [-1.0, 0.0, 0.1])
def test_the_projected_modes_set_and_cap_how_far_x_reaches_along_the_direction(sae, strength):
    x = torch.randn(1, 3, 32, generator=torch.Generator().manual_seed(1))
    W = sae.W_dec.detach()[5] * 2
    sae.W_dec.data[5] = W  # a row of another length than 1: p counts in activations
    p = (x[0] @ W / W.dot(W))[1:]
    for mode, expected in (("orthogonal", torch.full_like(p, 3 * strength)), ("cap", p.clamp(max=3 * strength))):
        new = (x[0] + moved(sae, Steer(5, strength, mode), x)) @ W / W.dot(W)
        torch.testing.assert_close(new[1:], expected, atol=1e-5, rtol=0)


def test_a_transcoder_s_projection_is_that_of_its_output(transcoder):
    x, y = torch.randn(1, 3, 32), torch.randn(1, 3, 32)
    look, add = steering_edits(transcoder, [Steer(5, 0.0, "orthogonal")], ONE, PROMPT).values()
    look(x, 0)
    assert (add(y, 0)[0, 1:] @ transcoder.W_dec.detach()[5]).abs().max() < 1e-5


def test_features_of_both_kinds_of_mode_are_steered_at_once(sae):
    x = torch.randn(1, 3, 32, generator=torch.Generator().manual_seed(1))
    both = [Steer(5, 1.0), Steer(6, 0.0, "orthogonal")]
    (edit,) = steering_edits(sae, both, torch.tensor([3.0, 3.0]), PROMPT).values()
    alone = sum(moved(sae, one, x) for one in both)
    torch.testing.assert_close((edit(x, 0) - x)[0], alone, atol=1e-5, rtol=0)


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
    result = steer(lm, by(sae, Steer(5, 5.0)), SteerRequest("import os", 8, temperature=1.0, seed=3))
    alone = [step.tokens.item() for step in lm.generate(lm.prompt("import os")[None], 8, temperature=1.0, seed=3)]
    assert list(result.rows[0].tokens) == alone[: len(result.rows[0].tokens)]
    assert [row.name for row in result.rows] == ["default", "steered"]
    assert result.row("default").text == lm.decode(result.rows[0].tokens).rstrip("\N{REPLACEMENT CHARACTER}")


def test_steering_by_nothing_writes_the_same_text_with_the_same_random_numbers(lm, sae):
    rows = ("default", "steered", "random", "other")
    result = steer(lm, by(sae, Steer(5, 0.0)), SteerRequest("import os", 8, temperature=1.0, rows=rows))
    default, steered, random, other = result.rows
    assert default.tokens == steered.tokens == random.tokens == other.tokens
    assert default.logprobs == pytest.approx(steered.logprobs, abs=1e-5)


def test_the_controls_move_as_far_in_other_directions(sae):
    rows = ("steered", "default", "random", "other")
    delta = torch.stack([sae.W_dec.detach()[5] * -4] * 4).unsqueeze(1)  # [rows, one token, d]
    (part,) = by(sae, Steer(5, -1.0))
    steered, default, random, other = _by_row(part, SteerRequest("a", rows=rows))(delta)
    assert default.abs().max() == 0
    assert torch.equal(steered, delta[0])
    assert torch.stack([random, other]).norm(dim=-1).flatten().tolist() == pytest.approx([4, 4], rel=1e-5)
    assert torch.cosine_similarity(random, steered).abs() < 0.9
    along = sae.W_dec.detach()[another_feature(sae, 5)]
    assert torch.cosine_similarity(other[0], along, dim=0) == pytest.approx(-1, abs=1e-5)  # pushed back, as 5 is


def test_each_token_comes_with_its_logprob_and_the_text_so_far(lm, sae):
    steps = list(steer_steps(lm, by(sae, Steer(5, 1.0)), SteerRequest("a", 3, temperature=0.0)))
    assert [step.number for step in steps] == [0, 1, 2]
    clean = lm.logits(lm.prompt("a")[None])[0, -1].log_softmax(-1)
    assert steps[0].tokens[0] == clean.argmax()
    assert steps[0].logprobs[0] == pytest.approx(clean.max().item(), abs=1e-4)
    assert all(len(step.texts) == 2 for step in steps)


def test_between_two_steps_the_model_is_not_steered(lm, sae):
    ids = lm.prompt("x")
    before = lm.logits(ids[None])
    steps = steer_steps(lm, by(sae, Steer(5, 5.0)), SteerRequest("import", 4))
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
    with pytest.raises(InterventionError, match="no mode 'push': use add, scale, clamp, orthogonal, cap"):
        Steer(5, 1.0, mode="push")
    with pytest.raises(InterventionError, match="no positions 'first': use all, prompt, generated, last"):
        Steer(5, 1.0, positions="first")


def test_a_feature_that_never_fired_cannot_be_steered_in_units_of_its_maximum(sae):
    with pytest.raises(InterventionError, match="feature 5 never fired"):
        steering_edits(sae, [Steer(5, 1.0)], torch.tensor([0.0]), PROMPT)


def test_as_many_maxima_as_features_are_needed(sae):
    with pytest.raises(InterventionError, match="1 features to steer, but 2 maxima"):
        steering_edits(sae, [Steer(5, 1.0)], torch.tensor([1.0, 2.0]), PROMPT)


def test_the_last_n_tokens_of_the_prompt_are_steered(sae):
    change = moved(sae, Steer(5, 1.0, positions="last", last=2), torch.zeros(1, 4, 32))
    assert (change.norm(dim=1) > 0).tolist() == [False, True, True, False]
    with pytest.raises(InterventionError, match="the last 0 tokens are none"):
        Steer(5, 1.0, last=0)


def test_each_token_comes_with_the_features_on_it(lm, sae):
    request = SteerRequest("import", 5, temperature=1.0)
    result = steer(lm, by(sae, Steer(5, 1.0), Steer(6, 0.0)), request)
    row, site = result.row("default"), sae.metadata["hook_name"]
    ids = torch.cat([lm.prompt("import"), torch.tensor(row.tokens)])
    f = sae.encode(lm.activations(ids[None], [site])[site][0])[-len(row.tokens) :, [5, 6]]
    assert row.activations[-1] is None
    torch.testing.assert_close(torch.tensor(row.activations[:-1]), f[:-1].detach(), atol=1e-4, rtol=1e-4)


def test_two_sites_are_steered_in_one_generation(lm, sae, sae_at):
    request = SteerRequest("import os", 6, temperature=0.0)
    first, second = by(sae, Steer(5, 4.0)), by(sae_at("blocks.0.hook_resid_post"), Steer(7, 4.0))
    texts = [steer(lm, parts, request).row("steered").logprobs for parts in (first, second, first + second)]
    assert len({texts[0], texts[1], texts[2]}) == 3


def test_a_prompt_that_leaves_no_room_is_refused_before_the_model_runs(lm, sae):
    with pytest.raises(InterventionError, match="the text has 31 tokens and 8 more are asked for, but .* reads 32"):
        steer_steps(lm, by(sae, Steer(5, 1.0)), SteerRequest("a" * 30, 8))
    assert len(list(steer_steps(lm, by(sae, Steer(5, 1.0)), SteerRequest("a" * 30, 2, temperature=0.0)))) <= 2


def test_a_request_that_makes_no_sense_is_refused(lm, sae):
    with pytest.raises(InterventionError, match="name each once, of default, steered, random, other"):
        SteerRequest("a", rows=("default", "default"))
    with pytest.raises(InterventionError, match="tokens start at 1"):
        SteerRequest("a", 0)
    with pytest.raises(InterventionError, match="nothing was named"):
        steer(lm, [], SteerRequest("a"))
    with pytest.raises(InterventionError, match="feature 5 was named twice"):
        steer(lm, by(sae, Steer(5, 1.0), Steer(5, 2.0)), SteerRequest("a", 4))


def test_the_command_line_offers_what_there_is():
    assert tuple(MODES) == cli_steer.MODES and tuple(POSITIONS) == cli_steer.POSITIONS
    assert ABLATIONS == cli_ablate.MODES
