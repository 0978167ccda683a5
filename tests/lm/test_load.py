import json
import shutil
import subprocess
import sys

import pytest
import torch

from saelab.errors import ModelError
from saelab.lm import LanguageModel, load

pico = pytest.fixture(scope="module")(lambda: LanguageModel.load("pico", device="cpu"))


def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_the_bundled_model_gives_the_logits_of_the_plain_model(pico, plain):
    ids = pico.prompt("def read(path):\n    return open(path).read()")[None]
    with torch.no_grad():
        expected = plain(load.find("pico"))(ids).logits
    torch.testing.assert_close(pico.logits(ids), expected, atol=1e-4, rtol=0)
    assert (pico.name, pico.bos, pico.context, pico.special) == ("pico", 0, 256, frozenset({0}))


def test_nothing_is_printed_while_a_model_loads(tiny_lm_dir, capfd):
    LanguageModel.load(str(tiny_lm_dir), device="cpu")
    assert capfd.readouterr() == ("", "")


def test_the_room_is_imported_without_the_libraries_that_load_models():
    code = "import saelab.lm, sys; assert not {'transformer_lens', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_shapes_are_told(models):
    for lm in models.values():
        assert (lm.d_model, lm.context, lm.n_vocab, lm.bos) == (32, 32, 257, 0)
        assert lm.W_U.shape == (32, 257)
    assert models["gpt2"].n_layers == 3


def test_a_fingerprint_follows_the_weights_and_not_the_dtype(models, tiny_lm_dir, tmp_path):
    half = LanguageModel.load(str(copy(tiny_lm_dir, tmp_path)), device="cpu", dtype="bfloat16")
    assert half.dtype == torch.bfloat16
    assert half.fingerprint == models["gpt2"].fingerprint != models["llama"].fingerprint


def test_half_precision_gives_float32_logits(tiny_lm_dir, ids):
    half = LanguageModel.load(str(tiny_lm_dir), device="cpu", dtype="bfloat16")
    assert half.logits(ids).dtype == torch.float32
    assert half.activations(ids, ["resid_post.0"])["blocks.0.hook_resid_post"].dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere", "a b", "a/b/c"])
def test_a_folder_that_is_not_there_says_what_a_model_can_be(name):
    with pytest.raises(ModelError, match=r"there is no such folder, and it is no hub id.\n  a model is: pico, smollm2"):
        LanguageModel.load(name)


def test_an_offline_hub_id_is_one_clear_message():
    with pytest.raises(ModelError, match="'nobody/nothing' is not on this machine and cannot be fetched"):
        LanguageModel.load("nobody/nothing")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"holds no config\.json"):
        LanguageModel.load(str(tmp_path))


def test_a_folder_without_safetensors_is_refused(tiny_lm_dir, tmp_path):
    folder = copy(tiny_lm_dir, tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="a pickle can run code"):
        LanguageModel.load(str(folder))


def test_damaged_weights_are_refused(tiny_lm_dir, tmp_path):
    folder = copy(tiny_lm_dir, tmp_path)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        LanguageModel.load(str(folder))


def test_weights_that_lack_a_matrix_are_refused(tiny_lm_dir, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = copy(tiny_lm_dir, tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["transformer.h.1.mlp.c_fc.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 are missing, transformer\.h\.1\.mlp\.c_fc\.weight"):
        LanguageModel.load(str(folder))


def test_an_unknown_architecture_is_refused(tiny_lm_dir, tmp_path):
    folder = copy(tiny_lm_dir, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "nothing-known"}))
    with pytest.raises(ModelError, match="cannot be loaded"):
        LanguageModel.load(str(folder))


def test_a_folder_without_a_tokenizer_is_refused(tiny_lm_dir, tmp_path):
    folder = copy(tiny_lm_dir, tmp_path)
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match=r"holds no tokenizer: none of tokenizer\.json"):
        LanguageModel.load(str(folder))


def test_an_unknown_dtype_or_device_is_refused(tiny_lm_dir):
    with pytest.raises(ModelError, match="dtype = 'int8' is not one of float32"):
        LanguageModel.load(str(tiny_lm_dir), dtype="int8")
    with pytest.raises(ModelError, match="is no device"):
        LanguageModel.load(str(tiny_lm_dir), device="toaster")
    with pytest.raises(ModelError, match=r"sees \d GPUs"):
        LanguageModel.load(str(tiny_lm_dir), device="cuda:9")
