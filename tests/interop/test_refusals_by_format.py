"""What each format's files may say that no import can follow, and files that are made to harm."""

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_files import N, circuit_tracer, dictionary_learning, gemma_scope, linear, llamascopium, openai, sparsify
from interop_cases import T
from refusing import edit, refused


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"activation": "groupmax"}, "'groupmax'; of sparsify's activations saelab computes topk alone"),
        ({"signed": True}, "'topk', signed"),
        ({"activation": None}, "does not say activation"),
        ({"transcode": None}, "does not say transcode"),
        ({"k": None}, "does not say k"),
        ({"k": N + 1}, "k = 20 features per row, but d_sae = 19"),
        ({"num_latents": 0, "expansion_factor": 0}, "is no width"),
        ({"num_latent": 4}, "Did it mean 'num_latents'"),
        ({"skip_connection": True}, "W_skip is missing"),
    ],
)
def test_sparsify(tmp_path, changes, match):
    path = sparsify(tmp_path / "theirs", T)
    edit(path / "cfg.json", **changes)
    refused(path, match)


TOPK = linear(T) | {"b_dec": T["b_dec"], "k": torch.tensor(3), "threshold": torch.tensor(-1.0)}


@pytest.mark.parametrize(
    ("dict_class", "changes", "match"),
    [
        (None, {}, "does not say dict_class"),
        ("CrossCoder", {}, "dict_class = 'CrossCoder'; saelab reads AutoEncoder"),
        ("BatchTopKSAE", {}, "threshold = -1, that is, it was never measured"),
        ("AutoEncoderTopK", {"k": 4}, "k = 4, but ae.pt holds k = 3"),
        ("AutoEncoderTopK", {"dict_size": 20}, r"implies floats of shape \[7, 20\]"),
        ("GatedAutoEncoder", {}, "where config.json .GatedAutoEncoder. implies no such tensor"),
    ],
)
def test_dictionary_learning(tmp_path, dict_class, changes, match):
    (tmp_path / "theirs").mkdir()
    refused(dictionary_learning(tmp_path / "theirs", TOPK, dict_class, **changes), match)


def test_a_bare_ae_pt_does_not_say_what_it_is(tmp_path):
    (tmp_path / "theirs").mkdir()
    path = dictionary_learning(tmp_path / "theirs", TOPK, "AutoEncoderTopK")
    (path / "config.json").unlink()
    refused(path, r"config\.json is missing")


class Bomb:
    """Unpickled, it would make a folder."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


def test_a_pickle_that_runs_something_is_not_run(tmp_path):
    (tmp_path / "theirs").mkdir()
    path, mark = dictionary_learning(tmp_path / "theirs", TOPK, "AutoEncoderTopK"), tmp_path / "mark"
    torch.save({"b_dec": Bomb(mark)}, path / "ae.pt")
    refused(path, "holds more than weights, which is not run")
    (path / "ae.pt").write_bytes(pickle.dumps(Bomb(mark)))
    refused(path, "is no file of torch.save")
    assert not mark.exists()


def test_a_small_file_of_huge_views_is_not_read(tmp_path):
    (tmp_path / "theirs").mkdir()
    path = dictionary_learning(tmp_path / "theirs", TOPK, "AutoEncoderTopK")
    torch.save(TOPK | {"b_dec": torch.ones(1).expand(10**9)}, path / "ae.pt")
    refused(path, "names more numbers than it holds")


def test_an_archive_that_unpacks_to_far_more_is_not_read(tmp_path):
    place = gemma_scope(tmp_path, T)
    with zipfile.ZipFile(place / "params.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("W_enc.npy", bytes(50 << 20))
    refused(place, "would unpack to")


def test_an_npz_of_objects_is_not_unpickled(tmp_path):
    place = gemma_scope(tmp_path, T)
    np.savez(place / "params.npz", W_enc=np.array([Bomb(tmp_path / "mark")], dtype=object))
    refused(place, "no .npz of plain numbers")
    assert not (tmp_path / "mark").exists()


def test_openai_s_topk_normalises_rows(tmp_path):
    refused(openai(tmp_path / "theirs", T, "TopK"), "TopK files normalise every row")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"sae_type": "clt"}, "sae_type = 'clt'"),
        ({"act_fn": "batchtopk"}, "act_fn = 'batchtopk'"),
        ({"norm_activation": "dataset-wise"}, "'dataset-wise' scales rows by lengths measured in training"),
        ({"sparsity_include_decoder_norm": True}, "W_D's rows are not of length 1"),
        ({"top_k": None}, "does not say top_k"),
    ],
)
def test_llamascopium(tmp_path, changes, match):
    refused(llamascopium(tmp_path / "theirs", T, "topk", **changes), match)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"model_kind": "x"}, "model_kind = 'x'; it may be"),
        ({"feature_input_hook": None}, "does not say feature_input_hook"),
        ({"transcoders": ["hf://a/b"]}, "names transcoders in other places"),
        ({"scans": 1}, "Did it mean 'scan'"),
    ],
)
def test_circuit_tracer(tmp_path, changes, match):
    refused(circuit_tracer(tmp_path / "theirs", [T], (), **changes), match)


def test_a_layer_missing_from_a_set(tmp_path):
    path = circuit_tracer(tmp_path / "theirs", [T, T, T], ())
    (path / "layer_1.safetensors").unlink()
    refused(path, r"layers \[0, 2\]; every layer from 0 on must be there")
