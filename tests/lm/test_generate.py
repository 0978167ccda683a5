import pytest
import torch

from saelab.errors import ConfigError, ModelError
from saelab.lm.generate import choose

FAMILIES = ["gpt2", "llama"]
NEVER: frozenset[int] = frozenset()


def tokens(steps):
    return torch.stack([step.tokens for step in steps], dim=1)


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_decoding_with_a_cache_equals_the_argmax_without(models, family, ids):
    lm, uncached = models[family], ids
    for _ in range(6):
        uncached = torch.cat([uncached, lm.logits(uncached)[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(tokens(lm.generate(ids, 6, stop=NEVER)), uncached[:, ids.shape[1] :])


def test_log_probabilities_are_the_models_own(models, ids):
    lm = models["gpt2"]
    [step] = lm.generate(ids, 1, temperature=2.0, stop=NEVER)
    expected = lm.logits(ids)[:, -1].log_softmax(-1).gather(1, step.tokens[:, None])[:, 0]
    torch.testing.assert_close(step.logprobs, expected)


@pytest.mark.parametrize("site", ["resid_post.1", "resid_mid.0", "attn_z.1"])
def test_an_edit_acts_while_decoding_and_knows_its_position(models, ids, site):
    lm, seen = models["gpt2"], []

    def by_position(rows, start):
        """A different push at every position: right only if the position is."""
        seen.append((start, rows.shape[1]))
        place = torch.arange(start, start + rows.shape[1])
        return rows + 3 * torch.sin(place[:, None] * torch.arange(1, rows.shape[2] + 1))

    with lm.edited({site: by_position}):
        cached = tokens(lm.generate(ids, 5, stop=NEVER))
        assert seen == [(0, 7), (7, 1), (8, 1), (9, 1), (10, 1)]
        uncached = ids
        for _ in range(5):
            uncached = torch.cat([uncached, lm.logits(uncached)[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(cached, uncached[:, 7:])
    assert not torch.equal(cached, tokens(lm.generate(ids, 5, stop=NEVER)))


def test_rows_of_a_batch_share_their_random_numbers(models, ids):
    twice = ids[:1].repeat(2, 1)
    drawn = tokens(models["gpt2"].generate(twice, 12, temperature=1.0, seed=4, stop=NEVER))
    assert torch.equal(drawn[0], drawn[1])


def test_a_seed_names_its_sample(models, ids):
    lm = models["gpt2"]
    draws = [tokens(lm.generate(ids, 12, temperature=1.0, seed=seed, stop=NEVER)) for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_a_row_alone_draws_what_it_draws_in_a_batch(models, ids):
    lm = models["gpt2"]
    together = tokens(lm.generate(ids, 8, temperature=1.0, seed=7, stop=NEVER))
    assert torch.equal(together[1:], tokens(lm.generate(ids[1:], 8, temperature=1.0, seed=7, stop=NEVER)))


def test_draws_follow_the_probabilities():
    generator = torch.Generator().manual_seed(0)
    logits = torch.tensor([[0.8, 0.2]]).log()
    drawn = [choose(logits, 1.0, generator)[0].item() for _ in range(2000)]
    assert sum(drawn) / 2000 == pytest.approx(0.2, abs=0.03)  # 3 standard deviations


def test_a_temperature_near_zero_is_greedy_and_none_is_exactly(models, ids):
    lm = models["gpt2"]
    cold = tokens(lm.generate(ids, 6, temperature=1e-6, seed=3, stop=NEVER))
    assert torch.equal(cold, tokens(lm.generate(ids, 6, stop=NEVER)))


def test_a_row_that_stopped_repeats_its_stop_token_and_all_stopped_ends(models, ids):
    lm = models["gpt2"]
    free = tokens(lm.generate(ids, 10, temperature=1.0, seed=0, stop=NEVER))
    first, second = int(free[0, 1]), int(free[1, 4])
    steps = list(lm.generate(ids, 10, temperature=1.0, seed=0, stop=frozenset({first, second})))
    drawn = tokens(steps)
    ends = [next(i for i, token in enumerate(row) if token in (first, second)) for row in free.tolist()]
    assert drawn.shape[1] == max(ends) + 1
    for row, end in enumerate(ends):
        assert torch.equal(drawn[row, : end + 1], free[row, : end + 1])
        assert drawn[row, end:].unique().numel() == 1
        assert all(float(step.logprobs[row]) == 0.0 for step in steps[end + 1 :])


def test_what_does_not_fit_the_context_is_refused_before_the_first_token(models, ids):
    assert len(list(models["gpt2"].generate(ids, 26, stop=NEVER))) == 26
    with pytest.raises(ModelError, match=r"context of 32\.\n  fix: ask for at most 26 steps"):
        models["gpt2"].generate(ids, 27)
    with pytest.raises(ModelError, match=r"33 tokens were given to .*, which takes 1 to 32"):
        models["gpt2"].logits(torch.ones(1, 33, dtype=torch.long))


def test_a_negative_temperature_is_refused(models, ids):
    with pytest.raises(ConfigError, match=r"temperature = -1\.0"):
        models["gpt2"].generate(ids, 3, temperature=-1.0)


def test_decoding_leaves_the_number_of_threads_as_it_was(models, ids):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for _ in models["gpt2"].generate(ids, 2, stop=NEVER):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
