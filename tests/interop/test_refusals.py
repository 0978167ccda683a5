"""Whatever is wrong with a foreign file is one message, and leaves nothing behind."""

import json

import pytest
import torch
from click.testing import CliRunner
from foreign_files import D, N, saelens, sparsify
from interop_cases import PLAIN, T, pick
from refusing import edit, refused
from safetensors.torch import load_file, save_file

from saelab.cli import cli, main
from saelab.errors import FormatError
from saelab.interop import export_saes, import_saes
from saelab.sae import VARIANTS, sae_config


@pytest.fixture
def standard(tmp_path):
    return saelens(tmp_path / "theirs", pick(T, *PLAIN))


@pytest.mark.parametrize("key", ["apply_b_dec_to_input", "normalize_activations", "architecture", "d_sae"])
def test_a_convention_that_is_not_said_is_named(standard, key):
    edit(standard / "cfg.json", **{key: None})
    refused(standard, f"does not say {key}, which decides")


def test_topk_needs_k_and_whether_decoder_lengths_count(standard):
    edit(standard / "cfg.json", architecture="topk", rescale_acts_by_decoder_norm=True)
    refused(standard, "does not say k,")
    edit(standard / "cfg.json", k=3, rescale_acts_by_decoder_norm=None)
    refused(standard, "does not say rescale_acts_by_decoder_norm")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"d_sae": N + 1}, rf"W_dec is F32 \[{N}, {D}\], where cfg.json implies floats of shape \[{N + 1}, {D}\]"),
        ({"d_sae": 10**9}, "where cfg.json implies floats of shape"),
        ({"d_sae": 2**40}, "is no width"),
        ({"d_sae": -3}, "is no width"),
        ({"d_sae": "19"}, "is not an int"),
        ({"d_sae": True}, "is not an int"),
        ({"architecture": "temporal"}, "is a temporal, which no variant of saelab computes"),
        ({"architecture": "abstopk"}, "is a abstopk, which no variant"),
        ({"normalize_activations": "layer_norm"}, "divides every row by its own length"),
        ({"normalize_activations": "expected_average_only_in"}, "activation_scaler.json, which holds the"),
        ({"normalize_activations": "covariance_whitening"}, "activation_whitening.safetensors is missing"),
        ({"apply_b_dec_to_inputs": True}, "Did it mean 'apply_b_dec_to_input'"),
        ({"architecture": "transcoder", "d_out": D}, "belongs to what it writes"),
        ({"architecture": "gated"}, "b_enc is F32 .19., where cfg.json implies no such tensor"),
        ({"architecture": "jumprelu"}, "threshold is missing"),
    ],
)
def test_a_configuration_that_contradicts_its_weights_or_itself(standard, changes, match):
    edit(standard / "cfg.json", **changes)
    refused(standard, match)


def test_a_scale_that_is_none(standard):
    edit(standard / "cfg.json", normalize_activations="expected_average_only_in")
    for text, match in (('{"scaling_factor": -1.0}', "is no scale"), ('{"scaling_factor": null}', "does not say"),
                        ('{"scaling_factor": NaN}', "NaN is not a number")):  # fmt: skip
        (standard / "activation_scaler.json").write_text(text)
        refused(standard, match)


@pytest.mark.parametrize("text", ["{", "[]", '{"d_in": NaN}', "[" * 100_000])
def test_a_configuration_that_is_no_json_object(standard, text):
    (standard / "cfg.json").write_text(text)
    refused(standard, "is no JSON|where a mapping of settings was expected")


def test_a_configuration_of_absurd_size_is_not_read(standard):
    with (standard / "cfg.json").open("a") as file:
        file.write(" " * (5 << 20))
    refused(standard, "a configuration has at most")


def test_weights_cut_short(standard):
    file = standard / "sae_weights.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    refused(standard, "is damaged or no safetensors")


def test_a_tensor_too_many(standard):
    file = standard / "sae_weights.safetensors"
    save_file(load_file(file) | {"more": torch.ones(2)}, file)
    refused(standard, r"more is F32 \[2\], where cfg.json implies no such tensor")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite(tmp_path, value):
    b_dec = T["b_dec"].clone()
    b_dec[2] = value
    refused(saelens(tmp_path / "theirs", pick(T, *PLAIN) | {"b_dec": b_dec}), "b_dec holds values that are not finite")


def test_weights_of_whole_numbers_are_no_weights(tmp_path):
    path = saelens(tmp_path / "theirs", pick(T, *PLAIN) | {"b_dec": torch.ones(D, dtype=torch.int8)})
    refused(path, "b_dec is I8")


def test_our_own_checkpoint_needs_no_import(tmp_path):
    VARIANTS["topk"](sae_config({"variant": "topk", "d_in": 4, "d_sae": 7, "k": 2})).save(tmp_path / "theirs")
    refused(tmp_path / "theirs", "is a saelab checkpoint already")


def test_a_fine_tuning_factor_that_was_never_folded(tmp_path):
    path = saelens(tmp_path / "theirs", pick(T, *PLAIN) | {"scaling_factor": 2 * torch.ones(N)})
    refused(path, "scaling_factor that was never folded")


def test_a_path_of_no_format_lists_what_was_looked_for(tmp_path):
    (tmp_path / "theirs").mkdir()
    refused(tmp_path / "theirs", "(?s)of no format that saelab reads.*saelens: cfg.json and sae_weights.safetensors")
    refused(tmp_path / "nowhere", "there is no such file or folder")
    refused(tmp_path / "theirs", "holds no SAE of sparsify", format="sparsify")
    refused(tmp_path / "theirs", "is no format. There are: saelens, sparsify", format="saelen")


def test_a_path_of_two_formats_is_not_chosen_for_the_user(standard):
    sparsify(standard.parent / "other", T)
    (standard.parent / "other" / "sae.safetensors").rename(standard / "sae.safetensors")
    refused(standard, "could be of saelens or sparsify")


def test_the_same_import_again_changes_nothing(standard, tmp_path):
    for _ in range(2):
        import_saes(standard, tmp_path / "ours")
        (tmp_path / "ours" / "evals").mkdir(exist_ok=True)
    assert not (tmp_path / "ours.tmp").exists()
    edit(standard / "cfg.json", apply_b_dec_to_input=False)
    with pytest.raises(FormatError, match="exists already, and holds something else"):
        import_saes(standard, tmp_path / "ours")
    assert (tmp_path / "ours" / "evals").is_dir()


def test_what_exists_is_not_overwritten(standard, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(FormatError, match="exists already"):
        import_saes(standard, tmp_path / "there")
    assert not list((tmp_path / "there").iterdir())


@pytest.mark.parametrize("name", ["..", ".hidden", "a b", "x" * 101])
def test_a_name_that_is_none(standard, tmp_path, name):
    with pytest.raises(FormatError, match="is no name for a folder|exists already"):
        import_saes(standard, tmp_path / "new" / name)


def test_leftovers_of_a_killed_import_are_swept(standard, tmp_path):
    (tmp_path / "ours.tmp").mkdir()
    (tmp_path / "ours.tmp" / "half").write_text("")
    import_saes(standard, tmp_path / "ours")
    assert not (tmp_path / "ours.tmp").exists()
    assert not (tmp_path / "ours" / "half").exists()


def test_a_target_is_for_transcoders(standard):
    refused(standard, "takes b_dec off its input, so it is none", target="mlp_out.1")


def test_formats_that_are_only_read_and_several_into_one(tmp_path):
    for name in ("a", "b"):
        VARIANTS["relu"](sae_config({"variant": "relu", "d_in": 4, "d_sae": 7})).save(tmp_path / name)
    with pytest.raises(FormatError, match="reads gemma_scope but does not write it"):
        export_saes([tmp_path / "a"], tmp_path / "out", "gemma_scope")
    with pytest.raises(FormatError, match="a folder of saelens holds one SAE, and 2 were named"):
        export_saes([tmp_path / "a", tmp_path / "b"], tmp_path / "out", "saelens")
    with pytest.raises(FormatError, match="have the same name"):
        export_saes([tmp_path / "a", tmp_path / "a"], tmp_path / "out", "sparsify")
    assert not (tmp_path / "out").exists()


def test_the_command_line_says_it_in_one_message_with_exit_code_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["saelab", "import", str(tmp_path), "--out", str(tmp_path / "ours")])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "of no format that saelab reads" in capsys.readouterr().err


def test_the_command_line_imports_and_exports(standard, tmp_path):
    run = CliRunner()
    done = run.invoke(cli, ["import", str(standard), "--out", str(tmp_path / "ours"), "--json", str(tmp_path / "a")])
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "a").read_text())["saes"][0]["kind"] == "relu"
    arguments = ["export", str(tmp_path / "ours"), "--format", "dictionary_learning", "--out", str(tmp_path / "back")]
    done = run.invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert "AutoEncoder" in done.output
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == ["ae.pt", "config.json"]
