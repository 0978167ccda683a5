"""Lorsa against attention, and against what can be worked out by hand."""

import json
from types import SimpleNamespace

import pytest
import torch

from saelab.contracts import Batch
from saelab.errors import CheckpointError, ConfigError
from saelab.runs import Checkpoint
from saelab.sae import SAE, Replacement, sae_config
from saelab.sae.replacements import Lorsa
from saelab.sae.replacements.attention import AttentionWeights, Rotary

D, HEADS, WIDTH, TOKENS = 12, 3, 4, 7


def generator(seed):
    return torch.Generator().manual_seed(seed)


def random_layer(rotary=None, keys=HEADS, d_out=D):
    """An attention layer of random weights; with fewer keys than heads, queries are grouped."""

    def draw(*shape):
        return torch.randn(*shape, generator=random) * shape[-1] ** -0.5

    random = generator(1)
    return AttentionWeights(
        draw(HEADS, D, WIDTH), draw(keys, D, WIDTH), draw(keys, D, WIDTH), draw(HEADS, WIDTH, d_out),
        draw(HEADS, WIDTH), draw(keys, WIDTH), draw(keys, WIDTH), draw(d_out), rotary,
    )  # fmt: skip


def by_hand(layer, x):
    """The layer's output, one query, key and head at a time."""
    group = HEADS // len(layer.W_K)
    out = layer.b_O.repeat(*x.shape[:2], 1)
    for b, h, t in ((b, h, t) for b in range(len(x)) for h in range(HEADS) for t in range(x.shape[1])):
        q = turned(x[b, t] @ layer.W_Q[h] + layer.b_Q[h], t, layer.rotary)
        keys = [turned(x[b, s] @ layer.W_K[h // group] + layer.b_K[h // group], s, layer.rotary) for s in range(t + 1)]
        pattern = torch.stack([q @ key / WIDTH**0.5 for key in keys]).softmax(dim=0)
        for s in range(t + 1):
            out[b, t] += pattern[s] * (x[b, s] @ layer.W_V[h // group] + layer.b_V[h // group]) @ layer.W_O[h]
    return out


def turned(vector, position, rotary):
    """Pairs (j, j + half) as complex numbers, times e^(i position speed)."""
    if rotary is None:
        return vector
    dims = rotary.dims or len(vector)
    half = dims // 2
    pairs = torch.complex(vector[:half], vector[half:dims])
    angle = torch.tensor([position * rotary.base ** (-2 * j / dims) for j in range(half)])
    pairs = pairs * torch.polar(torch.ones(half), angle)
    return torch.cat([pairs.real, pairs.imag, vector[dims:]])


def sequences(n=3, seed=2):
    return torch.randn(n, TOKENS, D, generator=generator(seed))


def flat(x):
    return x.flatten(0, 1)


def small(**changes):
    values = {"d_in": D, "d_out": 5, "d_sae": 24, "k": 4, "qk_heads": 3, "context": TOKENS, **changes}
    return Lorsa(sae_config({"variant": "lorsa", **values}), generator(3))


ROTARY = [None, Rotary(100.0), Rotary(100.0, 2)]


@pytest.mark.parametrize("rotary", ROTARY, ids=["plain", "rotary", "half of it"])
@pytest.mark.parametrize("keys", [HEADS, 1], ids=["own keys", "shared keys"])
def test_the_layer_it_is_compared_with_is_attention(rotary, keys):
    layer, x = random_layer(rotary, keys), sequences()
    torch.testing.assert_close(layer.output(x), by_hand(layer, x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "with relu"])
@pytest.mark.parametrize("keys", [HEADS, 1], ids=["own keys", "shared keys"])
@pytest.mark.parametrize("rotary", ROTARY, ids=["plain", "rotary", "half of it"])
def test_all_rank_one_terms_of_an_attention_layer_are_that_layer(rotary, keys, signed):
    layer, x = random_layer(rotary, keys), sequences()
    lorsa = Lorsa.exactly(layer, TOKENS, signed).eval()
    with torch.no_grad():
        made = lorsa(flat(x)).unflatten(0, x.shape[:2])
    assert lorsa.cfg.k == lorsa.cfg.d_sae == HEADS * WIDTH * (1 if signed else 2)
    assert (made - layer.output(x)).abs().max() < 1e-4
    torch.testing.assert_close(lorsa.W_dec.norm(dim=1), torch.ones(lorsa.cfg.d_sae))


def test_the_heads_kept_are_those_that_write_most():
    lorsa, x = small(), flat(sequences())
    z = lorsa.heads(x)
    code = lorsa.sparse(x).dense()
    for row, values in zip(z.relu(), code, strict=True):
        kept = row.topk(4)
        wanted = torch.zeros(24).scatter(0, kept.indices, kept.values)
        torch.testing.assert_close(values, wanted)
    assert small(signed=True).encode_sparse(x).count is None  # signed, each of the k counts


def test_a_token_is_encoded_from_what_stands_before_it_in_its_own_sequence():
    lorsa, x = small(), sequences(2)
    before = lorsa.encode(flat(x)).detach().unflatten(0, (2, TOKENS))
    x[0, 4] += 1.0
    after = lorsa.encode(flat(x)).detach().unflatten(0, (2, TOKENS))
    assert torch.equal(before[0, :4], after[0, :4])
    assert not torch.equal(before[0, 4:], after[0, 4:])
    assert torch.equal(before[1], after[1])


def test_every_parameter_gets_a_gradient():
    lorsa, x = small(rotary_base=100.0), flat(sequences())
    lorsa.tokens_since_fired[:6], lorsa.dead_after = 1000, 100
    terms = lorsa.loss_terms(Batch(x, x[:, :5] + 1), 0)
    sum(terms.values()).backward()
    assert set(terms) == {"reconstruction", "aux"}
    for name, parameter in lorsa.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_first_tokens_of_a_sequence_are_read_and_not_answered_for():
    lorsa, x = small(lead=2), flat(sequences())
    y = x[:, :5].clone()
    loss = lorsa.loss_terms(Batch(x, y), 0)["reconstruction"]
    y.unflatten(0, (-1, TOKENS))[:, :2] += 100.0
    assert lorsa.loss_terms(Batch(x, y), 0)["reconstruction"] == loss
    assert lorsa.counted(TOKENS).tolist() == [False] * 2 + [True] * 5
    assert lorsa.tokens_since_fired.max() <= 2 * 3 * 5


def test_the_aux_term_is_the_unexplained_share_of_what_is_left_over():
    lorsa, x = small(aux=1.0, k_aux=3, lead=0).eval(), flat(sequences())  # in training, who fires is not dead
    lorsa.tokens_since_fired[:6], lorsa.dead_after = 1000, 100
    y = x[:, :5] + 1
    with torch.no_grad():
        left = y - lorsa(x)
        z = lorsa.heads(x)[:, :6].relu()
        kept = z.topk(3, dim=1)
        made = torch.zeros_like(z).scatter(1, kept.indices, kept.values) @ lorsa.W_dec[:6]
        wanted = (left - made).square().sum() / (left - left.mean(dim=0)).square().sum()
    torch.testing.assert_close(lorsa.loss_terms(Batch(x, y), 0)["aux"], wanted)


def test_folding_changes_units_and_nothing_else():
    lorsa, x = small(rotary_base=100.0), flat(sequences())
    with torch.no_grad():
        for parameter in lorsa.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator(4)))
        lorsa.after_step(0)
    c, c_y = torch.linspace(-3, 3, D), torch.linspace(1, 2, 5)
    folded = lorsa.fold(SimpleNamespace(centre=c, scale=0.4, target_centre=c_y, target_scale=2.5))
    raw = x / 0.4 + c
    torch.testing.assert_close(folded(raw), lorsa(x) / 2.5 + c_y, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(folded.encode(raw), lorsa.encode(x) / 2.5, rtol=1e-4, atol=1e-5)


def test_it_survives_saving_and_loading_to_the_bit_and_is_no_sae(tmp_path):
    lorsa, x = small(rotary_base=100.0).eval(), flat(sequences())
    lorsa.save(tmp_path, {"hook_name": "blocks.1.attn.hook_in"})
    again = Lorsa.load(tmp_path)
    assert isinstance(again, Lorsa)
    assert again.cfg == lorsa.cfg
    assert again(x).equal(lorsa(x))
    assert type(Replacement.load(tmp_path)) is Lorsa
    assert Checkpoint(tmp_path).verify() == []
    assert json.loads((tmp_path / "cfg.json").read_text())["architecture"] == "lorsa"
    with pytest.raises(CheckpointError, match=r"(?s)holds a lorsa, which reads whole sequences.*Lorsa\.load"):
        SAE.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"d_sae": 25}, r"d_sae = 25 OV heads .* qk_heads = 3"),
        ({"k": 25}, r"k = 25 heads per token, but d_sae = 24"),
        ({"rotary_base": 10.0, "rotary_dims": 5}, r"5 coordinates are to turn, of queries that are d_qk = 4 wide"),
        ({"lead": 7}, r"lead = 7 leaves nothing of a context of 7 tokens"),
        ({"skip": True}, r"leave skip and transcoder out"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, match):
    with pytest.raises(ConfigError, match=match):
        small(**changes)


def test_rows_that_are_no_whole_sequences_are_refused():
    with pytest.raises(ConfigError, match=r"whole sequences of sae.context = 7 rows.*got 8 rows"):
        small().encode(torch.zeros(8, D))
