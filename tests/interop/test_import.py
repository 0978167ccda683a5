"""An imported SAE gives the codes and reproductions that the files' own conventions give."""

import json

import pytest
import torch
from foreign_files import circuit_tracer, sparsify
from interop_cases import CASES, Case, D, T, parts, topk

from saelab.interop import detected, import_saes
from saelab.sae import SAE

TOLERANCE = 1e-5  # fp32 sums of a few dozen terms of size 1, in another order


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.format}: {case.kind}")
def test_codes_and_reproductions_are_those_of_the_files(case: Case, tmp_path):
    path, x = case.write(tmp_path / "theirs"), torch.randn(50, D, generator=torch.Generator().manual_seed(9))
    assert detected(path) == case.format
    (one,) = import_saes(path, tmp_path / "ours").saes
    sae, (f, x_hat) = SAE.load(one.folder), case.compute(x)
    assert (f > 0).any() and (f == 0).any()
    with torch.no_grad():
        torch.testing.assert_close(sae.encode(x), f, atol=TOLERANCE, rtol=TOLERANCE)
        torch.testing.assert_close(sae.encode_sparse(x).dense(), f, atol=TOLERANCE, rtol=TOLERANCE)
        torch.testing.assert_close(sae(x), x_hat, atol=TOLERANCE, rtol=TOLERANCE)


def test_a_file_of_dictionary_learning_stands_for_its_folder(tmp_path):
    case = next(case for case in CASES if case.kind == "AutoEncoderNew")
    path = case.write(tmp_path / "theirs") / "ae.pt"
    assert detected(path) == "dictionary_learning"
    assert import_saes(path, tmp_path / "ours").saes[0].kind == "relu"


def test_where_it_came_from_is_kept_in_the_checkpoint(tmp_path):
    path = sparsify(tmp_path / "layers.3", T)
    import_saes(path, tmp_path / "ours", model="pico")
    metadata = SAE.load(tmp_path / "ours").metadata
    assert (metadata["hook_name"], metadata["model_name"]) == ("blocks.3.hook_resid_post", "pico")
    origin = metadata["origin"]
    assert (origin["format"], origin["name"], len(origin["sha256"])) == ("sparsify", "layers.3", 64)
    assert str(tmp_path) not in json.dumps(metadata)


def test_the_hash_is_of_what_the_files_hold(tmp_path):
    hashes = []
    for name, tensors in (("a", T), ("b", T), ("c", T | {"b_dec": T["b_dec"] + 1})):
        import_saes(sparsify(tmp_path / name, tensors), tmp_path / f"{name}-ours")
        hashes.append(SAE.load(tmp_path / f"{name}-ours").metadata["origin"]["sha256"])
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_run_of_several_hookpoints_becomes_a_folder_of_checkpoints(tmp_path):
    run = tmp_path / "run"
    sparsify(run / "layers.2", T)
    sparsify(run / "h.0.mlp" / "seed1", parts(out=D), transcode=True)
    (run / "config.json").write_text(json.dumps({"model": "pico"}))
    found = import_saes(run, tmp_path / "sae")
    assert [one.folder.name for one in found.saes] == ["h.0.mlp-seed1", "layers.2"]
    first, second = (SAE.load(one.folder) for one in found.saes)
    assert (first.metadata["hook_name"], first.metadata["hook_name_out"]) == (
        "blocks.0.mlp.hook_in", "blocks.0.hook_mlp_out"
    )  # fmt: skip
    assert second.metadata["model_name"] == "pico"
    x = torch.randn(5, D)
    with torch.no_grad():
        torch.testing.assert_close(second(x), topk(x)[1], atol=TOLERANCE, rtol=TOLERANCE)


def test_every_layer_of_a_set_of_transcoders_becomes_a_checkpoint(tmp_path):
    found = import_saes(circuit_tracer(tmp_path / "set", [T, T, T], ("threshold",)), tmp_path / "sae")
    assert [one.folder.name for one in found.saes] == ["layer_0", "layer_1", "layer_2"]
    last = SAE.load(found.saes[2].folder)
    assert last.metadata["hook_name_out"] == "blocks.2.hook_mlp_out"
    assert last.cfg.transcoder


def test_a_site_that_saelab_does_not_know_is_kept_and_said(tmp_path):
    case = next(case for case in CASES if case.kind == "standard")
    path = case.write(tmp_path / "theirs")
    values = json.loads((path / "cfg.json").read_text())
    values["metadata"]["hook_name"] = "blocks.1.ln2.hook_normalized"
    (path / "cfg.json").write_text(json.dumps(values))
    found = import_saes(path, tmp_path / "ours")
    assert any("hook_normalized is kept as it is" in note for note in found.notes())


def test_what_the_files_leave_open_can_be_said(tmp_path):
    case = next(case for case in CASES if case.format == "openai")
    found = import_saes(case.write(tmp_path / "theirs"), tmp_path / "ours", model="pico", site="resid_post.2")
    metadata = SAE.load(tmp_path / "ours").metadata
    assert (metadata["model_name"], metadata["hook_name"]) == ("pico", "blocks.2.hook_resid_post")
    assert not any("import with" in note for note in found.notes())


def test_a_jumprelu_without_a_centre_may_be_told_to_be_a_transcoder(tmp_path):
    case = next(case for case in CASES if case.format == "gemma_scope")
    import_saes(case.write(tmp_path / "a"), tmp_path / "ours", site="mlp_in.5", target="mlp_out.5")
    sae, x = SAE.load(tmp_path / "ours"), torch.randn(9, D)
    assert sae.cfg.transcoder and sae.metadata["hook_name_out"] == "blocks.5.hook_mlp_out"
    with torch.no_grad():
        torch.testing.assert_close(sae(x), case.compute(x)[1], atol=TOLERANCE, rtol=TOLERANCE)
