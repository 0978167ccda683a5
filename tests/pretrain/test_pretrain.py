"""The recipe on a tiny corpus: what it writes, that it stops and goes on, and that its yardstick is right."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from saelab.config import settings
from saelab.errors import ConfigError, CorpusError
from saelab.pretrain.bits_per_byte import bits_per_byte, xz_bits_per_byte
from saelab.pretrain.config import PretrainConfig
from saelab.pretrain.loop import Training, backward, build_model, learning_rate
from saelab.pretrain.run import pretrain
from saelab.pretrain.tokenizer import train_tokenizer


def tiny(out: Path, **changes) -> PretrainConfig:
    values = {
        "vocab_size": 300,
        "model": {"n_layer": 1, "n_embd": 16, "n_head": 2, "n_positions": 16},
        "train": {"tokens": 2048, "batch": 4, "warmup": 4, **changes},
        "out": str(out),
    }
    return settings(PretrainConfig, values, where="test")


@pytest.fixture
def corpus(tmp_path: Path) -> dict[str, object]:
    for i in range(40):  # one in twenty is held out
        (tmp_path / f"{i}.txt").write_text(f"def f{i}(x):\n    return x + {i}\n" * 4)
    return {"kind": "files", "paths": [str(tmp_path)]}


def test_a_recipe_leaves_a_folder_that_transformers_loads(tmp_path, corpus):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    cfg = settings(PretrainConfig, {**tiny(tmp_path / "lm").model_dump(mode="json"), "corpus": corpus}, where="test")
    result = pretrain(cfg)
    model = AutoModelForCausalLM.from_pretrained(cfg.out, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(cfg.out)
    text = "def f1(x):\n    return x\n"
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert model(torch.tensor([tokenizer(text).input_ids])).logits.shape[-1] == 300
    assert result.heldout_documents > 0 and 0 < result.heldout_bits_per_byte < 12
    assert json.loads((cfg.out / "training.json").read_text())["steps"] == result.steps == 2048 // 64


def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path):
    documents = [torch.randint(1, 300, (200,), generator=torch.Generator().manual_seed(i)) for i in range(4)]

    def train(out: Path, stop: int | None) -> Training:
        training = Training(tiny(out), documents, 0, torch.device("cpu"))
        training.resume()
        for _ in training.run():
            if training.step == stop:
                training.save()
                break
        return training

    straight = train(tmp_path / "a", None)
    train(tmp_path / "b", 13)
    resumed = train(tmp_path / "b", None)
    assert resumed.step == straight.step == 32
    for p, q in zip(straight.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(p, q)


def test_a_state_of_other_settings_is_refused(tmp_path):
    documents = [torch.arange(1, 200)]
    Training(tiny(tmp_path), documents, 0, torch.device("cpu")).optimiser.zero_grad()
    first = Training(tiny(tmp_path), documents, 0, torch.device("cpu"))
    next(iter(first.run()))
    first.save()
    with pytest.raises(ConfigError, match="written by other settings"):
        Training(tiny(tmp_path, seed=1), documents, 0, torch.device("cpu")).resume()


def test_a_corpus_with_nothing_held_out_is_refused(tmp_path):
    (tmp_path / "only.txt").write_text("x = 1\n")
    corpus = {"kind": "files", "paths": [str(tmp_path / "only.txt")]}
    cfg = settings(PretrainConfig, {**tiny(tmp_path / "lm").model_dump(mode="json"), "corpus": corpus}, where="test")
    with pytest.raises(CorpusError, match="both are needed"):
        pretrain(cfg)
    assert not (tmp_path / "lm").exists()


def test_the_loss_in_pieces_is_the_loss_and_so_is_its_gradient(tmp_path):
    model = build_model(tiny(tmp_path), 0)
    ids = torch.randint(300, (5, 16), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[2, 9:] = -100
    whole = model(ids, labels=labels).loss
    whole.backward()
    wanted = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    pieces = backward(model, ids, labels)
    assert pieces.item() == pytest.approx(whole.item(), rel=1e-2)  # the pieces run in bf16: 8 bits of mantissa
    for name, p in model.named_parameters():
        assert torch.cosine_similarity(p.grad.flatten(), wanted[name].flatten(), dim=0) > 0.99, name


def test_the_learning_rate_warms_up_and_follows_a_cosine_to_a_twentieth():
    cfg = tiny(Path("x"), lr=1.0, warmup=10).train
    assert learning_rate(cfg, 0, 110) == 0.1
    assert learning_rate(cfg, 10, 110) == 1.0
    assert learning_rate(cfg, 60, 110) == pytest.approx(0.05 + 0.95 * 0.5)
    assert learning_rate(cfg, 110, 110) == pytest.approx(0.05)


def test_bits_per_byte_of_a_model_that_knows_nothing_is_the_entropy_of_its_alphabet():
    class Uniform(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, ids):
            return SimpleNamespace(logits=torch.zeros(*ids.shape, 256))

    documents = [torch.arange(100) % 256, torch.arange(7)]
    assert bits_per_byte(Uniform(), documents, 107, bos=0, context=16) == pytest.approx(8.0, rel=1e-6)


def test_xz_finds_the_repetition():
    assert xz_bits_per_byte(["abc" * 5000]) < 0.2 < xz_bits_per_byte(["abc"])


def test_every_string_can_be_encoded_and_comes_back():
    tokenizer = train_tokenizer(["def f(x):\n    return x\n"] * 3, 300, 16)
    for text in ["def f():\n\tpass\r\n", "naïve 日本 \u202e\x00", "a_b__c 12345  ", "\n\n  \n"]:
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text
    assert len(tokenizer) <= 300
