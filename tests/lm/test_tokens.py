import pytest
import torch
from tokenizers import Tokenizer, decoders, models

from saelab.errors import ModelError
from saelab.lm.tokens import Tokens


def test_text_survives_and_no_special_token_is_added(models):
    lm = models["gpt2"]
    text = "naïve 日本\n\tdef f(): pass  # " + "x" * 100  # longer than the context: no warning
    assert lm.decode(lm.encode(text)) == text
    assert lm.bos not in lm.encode(text)


def test_offsets_are_places_in_the_text(models):
    ids, offsets = models["gpt2"].encode_with_offsets("a é")
    assert len(ids) == 4  # one token per byte, and é has two
    assert offsets == [(0, 1), (1, 2), (2, 3), (2, 3)]


def test_tokens_are_shown_as_text_and_broken_characters_as_bytes(models):
    lm = models["gpt2"]
    assert lm.token_strings(lm.encode("a é\n")) == ["a", " ", "\\xc3", "\\xa9", "\n"]
    assert lm.token_strings([0]) == ["<|endoftext|>"]
    assert lm.token_strings(torch.tensor([999])) == ["<999>"]


def test_sentencepiece_tokens_are_shown_with_their_space_and_their_bytes():
    core = Tokenizer(models_of({"<s>": 0, "▁the": 1, "<0xE2>": 2, "<0x41>": 3}))
    core.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    fake = type("Fake", (), {"backend_tokenizer": core, "all_special_ids": [0]})()
    assert [Tokens(fake).show(i) for i in range(4)] == ["<s>", " the", "\\xe2", "A"]


def models_of(vocab):
    return models.BPE(vocab, [])


def test_a_prompt_starts_with_bos(models):
    lm = models["gpt2"]
    assert lm.prompt("hi").tolist() == [0, *lm.encode("hi")]
    assert lm.prompt("").tolist() == [0]


def test_a_chat_prompt_goes_through_the_models_template(models, monkeypatch):
    lm = models["gpt2"]
    template = "{% for m in messages %}<|endoftext|>{{ m.role }}:{{ m.content }}{% endfor %}{{ '>' }}"
    monkeypatch.setattr(lm.tokenizer, "chat_template", template)
    assert lm.decode(lm.prompt("hi", chat=True)) == "<|endoftext|>user:hi>"


def test_a_model_without_a_chat_template_says_so(models):
    with pytest.raises(ModelError, match="has no chat template"):
        models["gpt2"].prompt("hi", chat=True)


def test_an_empty_prompt_without_bos_is_refused(models, monkeypatch):
    monkeypatch.setattr(models["gpt2"], "bos", None)
    with pytest.raises(ModelError, match="The prompt is empty"):
        models["gpt2"].prompt("")
