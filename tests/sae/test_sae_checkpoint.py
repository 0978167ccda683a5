"""Damage of every kind is one clear message."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from saelab import sealed
from saelab.errors import CheckpointError
from saelab.sae import SAE, VARIANTS, sae_config
from saelab.sae.checkpoint import CONFIG, EXTRA, WEIGHTS


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    VARIANTS["topk"](sae_config({"variant": "topk", "d_in": 4, "d_sae": 7, "k": 2})).save(tmp_path)
    return tmp_path


def edit(folder, change):
    """Change cfg.json in place."""
    config = sealed.read(folder / CONFIG)
    change(config)
    sealed.write(folder / CONFIG, config)


def rewrite(folder, change):
    """Change the tensors, and have cfg.json vouch for them."""
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)
    digest = sealed.digest(folder / WEIGHTS)
    edit(folder, lambda config: config["metadata"]["saelab"]["files"].update({WEIGHTS: digest}))


def refused(folder, match):
    with pytest.raises(CheckpointError, match=match) as raised:
        SAE.load(folder)
    assert str(folder) in str(raised.value)


def test_what_was_saved_is_read(folder):
    assert SAE.load(str(folder)).cfg.d_sae == 7
    assert not list(folder.glob("*.tmp"))


def test_an_empty_folder(tmp_path):
    refused(tmp_path, r"there is no cfg\.json")


@pytest.mark.parametrize("file", [WEIGHTS, EXTRA])
def test_a_missing_file(folder, file):
    (folder / file).unlink()
    refused(folder, f"{file} is missing")


def test_a_truncated_file(folder):
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-10])
    refused(folder, "cannot be read")


def test_a_flipped_bit(folder):
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    refused(folder, "size or checksum differ")


def test_a_config_that_is_no_json(folder):
    (folder / CONFIG).write_text("{")
    refused(folder, r"cfg\.json cannot be read")


def test_a_shape_other_than_the_config_s_is_seen_before_anything_is_allocated(folder):
    edit(folder, lambda config: config["metadata"]["saelab"]["sae"].update(d_sae=10**13))
    refused(folder, r"W_dec is F32 \[7, 4\], where cfg\.json implies F32 \[10000000000000, 4\]")


def test_a_tensor_of_another_dtype(folder):
    rewrite(folder, lambda tensors: tensors.update(b_enc=tensors["b_enc"].half()))
    refused(folder, "b_enc is F16")


def test_a_tensor_too_many(folder):
    rewrite(folder, lambda tensors: tensors.update(more=torch.ones(1)))
    refused(folder, "more is F32 .1., where cfg.json implies missing")


def test_a_value_that_is_not_a_number(folder):
    rewrite(folder, lambda tensors: tensors["W_dec"][0].fill_(float("nan")))
    refused(folder, "W_dec holds values that are not finite")


def test_an_unknown_variant(folder):
    edit(folder, lambda config: config["metadata"]["saelab"]["sae"].update(variant="topkk"))
    refused(folder, "Did you mean 'topk'")


def test_a_checkpoint_of_another_library(folder):
    edit(folder, lambda config: config["metadata"].pop("saelab"))
    refused(folder, "not saved by saelab")


def test_a_format_from_the_future(folder):
    edit(folder, lambda config: config["metadata"]["saelab"].update(format=2))
    refused(folder, "reads format 1")


def test_a_part_of_the_config_gone(folder):
    edit(folder, lambda config: config["metadata"]["saelab"].pop("files"))
    refused(folder, r"lacks metadata\.saelab\.files")


def test_an_untrained_batchtopk_is_not_saved(tmp_path):
    sae = VARIANTS["batchtopk"](sae_config({"variant": "batchtopk", "d_in": 4, "d_sae": 7, "k": 2}))
    with pytest.raises(CheckpointError, match="never trained"):
        sae.save(tmp_path / "sae")
    assert not (tmp_path / "sae").exists()


def test_saving_again_replaces_the_checkpoint(folder):
    other = SAE.load(folder)
    with torch.no_grad():
        other.b_dec.fill_(3.0)
    other.save(folder, {"hook_name": "blocks.0.attn.hook_z"})
    assert SAE.load(folder).b_dec.tolist() == [3.0] * 4
    assert sealed.read(folder / CONFIG)["reshape_activations"] == "hook_z"


def test_the_weights_hold_sae_lens_names_and_no_other(folder):
    assert set(load_file(folder / WEIGHTS)) == {"W_enc", "b_enc", "W_dec", "b_dec"}
    assert load_file(folder / WEIGHTS)["W_enc"].shape == (4, 7)
    config = sealed.read(folder / CONFIG)
    assert (config["architecture"], config["k"], config["metadata"]["sae_lens_version"]) == ("topk", 2, "6.54.12")
