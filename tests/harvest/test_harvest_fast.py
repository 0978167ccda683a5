"""sequence_mode: fast: every sample by itself, whatever stands beside it."""

import json

import pytest
import torch

from saelab.config import settings
from saelab.corpora import Context, Document, contexts
from saelab.errors import ConfigError, ModelError
from saelab.evals.heldout import heldout_tokens
from saelab.harvest import HarvestConfig, harvest
from saelab.harvest.forward import shard_activations
from saelab.harvest.live import LiveRows
from saelab.harvest.plan import plan_shard
from saelab.lm import LanguageModel

from .counting_lm import CONTEXT, SITES, CountingLM, Heard, config, write_corpus

TEMPLATE = "{{ bos_token }}{% for turn in messages %}<{{ turn.role }}>{{ turn.content }}{% endfor %}" + (
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def lm(tiny_lm_dir):
    return LanguageModel.load(str(tiny_lm_dir), device="cpu")


def samples(lm, count):
    draw = torch.Generator().manual_seed(0)
    made = []
    for doc in range(count):
        ids = torch.randint(1, 200, (int(torch.randint(2, 32, (), generator=draw)),), generator=draw).tolist()
        context = Context()
        context.mark(lm.bos)
        context.extend(ids[:31], doc, 0)
        made.append(context)
    return made


def rows_of(lm, chosen, at_once, gradients=False):
    """{document: its rows at both sites}."""
    plan = plan_shard(chosen, number=0, first_row=0, first_ctx=0, most=10**6, special=lm.special)
    found = shard_activations(lm, plan, SITES, at_once, "float32", gradients)
    return {int(doc): [rows[plan.columns.doc == doc] for rows in found.values()] for doc in plan.columns.doc.unique()}


@pytest.mark.parametrize("gradients", [False, True])
def test_a_sample_has_the_same_bits_whichever_samples_lie_beside_it(lm, gradients):
    made = samples(lm, 24)
    shuffled = [made[i] for i in torch.randperm(24, generator=torch.Generator().manual_seed(1))]
    whole, other, few = (rows_of(lm, part, 1, gradients) for part in (made, shuffled, made[5:8]))
    for doc, rows in whole.items():
        for beside in (other, few):
            assert all(map(torch.equal, rows, beside.get(doc, rows)))


def test_a_store_holds_the_bits_of_each_sample_run_alone(lm, tmp_path, tiny_lm_dir):
    more = {"model": str(tiny_lm_dir), "sequence_mode": "fast", "tokens": 300, "batch": 8}
    store = harvest(config(write_corpus(tmp_path / "texts"), tmp_path / "s", **more), lm=lm)
    table = store.tokens()
    doc, token = (torch.tensor(table[name].to_pylist()) for name in ("doc", "token"))
    assert len(doc.unique()) > 10
    for number in doc.unique()[:-1]:
        mine = doc == number
        alone = lm.activations(torch.tensor([[lm.bos, *token[mine].tolist()]]), SITES)
        for site in SITES:
            assert torch.equal(store.read(site)[mine], alone[site][0, 1:])


def test_a_live_source_serves_the_same_bits(lm, tmp_path, tiny_lm_dir):
    more = {"model": str(tiny_lm_dir), "sequence_mode": "fast", "tokens": 10**6, "heldout_tokens": 10**6}
    cfg = config(write_corpus(tmp_path / "texts"), tmp_path / "s", **more)
    store, live = harvest(cfg, lm=lm), LiveRows(cfg, lm)
    assert torch.equal(live.heldout([SITES[0]], 10**6)[SITES[0]], store.read(SITES[0], "heldout"))


def test_a_sample_is_one_context_and_what_is_beyond_it_is_left_out():
    texts = [Document("a", "abcdefghij"), Document("b", "xy"), Document("c", "")]
    found = list(contexts(texts, lambda text: list(text.encode()), 5, 0, "truncated"))
    assert [context.ids for context in found] == [[0, *b"abcd"], [0, *b"xy"]]
    assert [context.doc[1:] for context in found] == [[0] * 4, [1] * 2]


def test_no_sample_is_padded_or_cut_in_two(tmp_path):
    lm = CountingLM()
    store = harvest(config(write_corpus(tmp_path / "t"), tmp_path / "s", sequence_mode="fast", tokens=200), lm=lm)
    table = store.tokens()
    assert max(table["pos"].to_pylist()) == CONTEXT - 2
    assert len(set(table["ctx"].to_pylist())) == len(set(table["doc"].to_pylist()))


def test_special_tokens_are_kept_where_asked_but_never_the_bos(tmp_path):
    corpus = write_corpus(tmp_path / "t")
    with_them = harvest(config(corpus, tmp_path / "a", special_tokens=True), lm=CountingLM()).tokens()["token"]
    without = harvest(config(corpus, tmp_path / "b"), lm=CountingLM()).tokens()["token"]
    assert ord("#") in with_them.to_pylist() and 0 not in with_them.to_pylist()
    assert ord("#") not in without.to_pylist()


def test_samples_cannot_be_joined_and_run_alone(tmp_path):
    with pytest.raises(ConfigError, match=r"packing = 'concat' joins them"):
        settings(HarvestConfig, {"sequence_mode": "fast", "packing": "concat"}, "test")


def test_an_older_store_answers_a_request_without_the_newer_settings():
    request = HarvestConfig().request()
    assert not {"gradients", "sequence_mode", "special_tokens"} & set(request)
    assert HarvestConfig(sequence_mode="fast").request()["sequence_mode"] == "fast"


def test_conversations_go_through_the_template_turn_by_turn(lm, tmp_path, tiny_lm_dir, monkeypatch):
    monkeypatch.setattr(lm.tokenizer, "chat_template", TEMPLATE)
    values, rendered = [], set()
    for n in range(150):
        turns = [{"role": "user", "content": f"hi{n}"}, {"role": "assistant", "content": "yes"}]
        values += [turns, f"why{n}", [*turns, {"role": "user", "content": "hi"}]]
        texts = (
            f"<user>hi{n}<assistant>yes",
            f"<user>why{n}<assistant>",
            f"<user>hi{n}<assistant>yes<user>hi<assistant>",
        )
        rendered |= {text[:31] for text in texts}
    file = tmp_path / "chat.jsonl"
    file.write_text("".join(json.dumps({"messages": value}) + "\n" for value in values))
    corpus = {"kind": "files", "paths": [str(file)], "column": "messages"}
    more = {"model": str(tiny_lm_dir), "sequence_mode": "fast", "chat": True, "corpus": corpus}
    store = harvest(config(tmp_path, tmp_path / "s", **more), lm=lm)
    table, texts = store.tokens(), {}
    for doc, token in zip(table["doc"].to_pylist(), table["token"].to_pylist(), strict=True):
        texts.setdefault(doc, []).append(token)
    found = {lm.decode(ids) for ids in list(texts.values())[:-1]}
    assert len(found) > 10 and found <= rendered
    (batch, *_) = heldout_tokens(lm, store, 100, 4, Heard())  # evaluations see the same text
    assert lm.decode(batch.ids[0][batch.counted[0]]) in rendered - found


def test_a_template_that_refuses_a_conversation_is_one_message(lm, monkeypatch):
    monkeypatch.setattr(lm.tokenizer, "chat_template", "{{ raise_exception('roles must alternate') }}")
    with pytest.raises(ModelError, match="refuses a conversation: roles must alternate"):
        lm.chat([("user", "a"), ("user", "b")])
