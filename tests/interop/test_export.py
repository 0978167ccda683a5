"""Every variant is written exactly, as the table in exports.py promises, or refused by name."""

import json
from pathlib import Path

import pytest
import torch
from exports import FORMS, WRITTEN, forms_of, replacement, saved, trained
from planted_rows import rows

from saelab.errors import FormatError
from saelab.interop import FORMATS, export_saes, import_saes
from saelab.sae import SAE, VARIANTS, Replacement

TOLERANCE = 1e-5  # fp32 sums of a few dozen terms of size 1, in another order
DATA = Path(__file__).resolve().parents[2] / "data"
WRITERS = [name for name, each in FORMATS.items() if each.write]


def written_as(folder: Path, format: str) -> str:
    """What the files call it."""
    if format == "saelens":
        return json.loads((folder / "cfg.json").read_text())["architecture"]
    if format == "dictionary_learning":
        return json.loads((folder / "config.json").read_text())["trainer"]["dict_class"]
    (one,) = import_saes(folder, folder.with_name("looked-at")).saes
    cfg = SAE.load(one.folder).cfg
    form = "skip transcoder" if cfg.skip else "transcoder" if cfg.transcoder else "topk"
    return form if format == "sparsify" else f"{'JumpReLU' if cfg.variant == 'jumprelu' else 'ReLU'} {form}"


def test_the_table_speaks_of_every_format_that_is_written():
    assert list(WRITTEN) == WRITERS
    assert {variant for each in WRITTEN.values() for variant, _ in each} <= set(VARIANTS)
    assert {form for each in WRITTEN.values() for _, form in each} <= set(FORMS)


def test_the_published_table_is_what_is_promised_here():
    rows = json.loads((DATA / "interop.json").read_text(encoding="utf-8"))["rows"]
    assert {row["format"] for row in rows if row["direction"] == "import"} == set(FORMATS)
    found = {(r["format"], r["kind"], r["form"]): r["as"] for r in rows if r["direction"] == "export"}
    cases = [(format, variant, form) for format in WRITERS for variant in VARIANTS for form in forms_of(variant)]
    assert found == {case: WRITTEN[case[0]].get(case[1:]) for case in cases}
    assert all(row["apart"] <= TOLERANCE for row in rows if row.get("apart") is not None)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("format", WRITERS)
def test_a_variant_comes_back_with_its_codes_or_is_refused_by_name(variant, format, tmp_path):
    for form in forms_of(variant):
        place = tmp_path / f"{form.replace(' ', '-') or 'plain'}"
        sae, x, expected = trained(variant, form), rows(50, seed=8), WRITTEN[format].get((variant, form))
        checkpoint = saved(sae, place / "ours")
        if expected is None:
            with pytest.raises(FormatError, match=f"a {variant}.* cannot be written as {format}: .*nothing is written"):
                export_saes([checkpoint], place / "theirs", format)
            assert sorted(path.name for path in place.iterdir()) == ["ours"]
            continue
        export_saes([checkpoint], place / "theirs", format)
        assert written_as(place / "theirs", format) == expected
        (one,) = import_saes(place / "theirs", place / "back").saes
        again = SAE.load(one.folder)
        assert {key: again.metadata.get(key) for key in ("hook_name", "model_name")} == {
            key: sae.metadata[key] for key in ("hook_name", "model_name")
        }
        with torch.no_grad():
            f = sae.encode(x)
            assert (f > 0).any()
            torch.testing.assert_close(again.encode(x), f, atol=TOLERANCE, rtol=TOLERANCE)
            torch.testing.assert_close(again(x), sae(x), atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("format", ["saelens", "sparsify", "dictionary_learning"])
@pytest.mark.parametrize("variant", ["clt", "lorsa"])
def test_replacements_are_refused_by_name(variant, format, tmp_path):
    checkpoint = saved(replacement(variant), tmp_path / "ours")
    with pytest.raises(FormatError, match=f"a {variant}.* cannot be written as {format}"):
        export_saes([checkpoint], tmp_path / "theirs", format)


def test_a_clt_goes_to_circuit_tracer_and_back(tmp_path):
    clt = replacement("clt")
    clt.metadata = {"model_name": "pico", "sites": [{"name": "blocks.0.mlp.hook_in", "d": 5, "scale": 1.0}]}
    export_saes([saved(clt, tmp_path / "ours")], tmp_path / "theirs", "circuit_tracer")
    assert len(list((tmp_path / "theirs").glob("W_dec_*.safetensors"))) == 2
    import_saes(tmp_path / "theirs", tmp_path / "back")
    again, x = Replacement.load(tmp_path / "back"), torch.randn(20, 10)
    with torch.no_grad():
        assert (clt.encode(x) > 0).any()
        torch.testing.assert_close(again.encode(x), clt.encode(x), atol=TOLERANCE, rtol=TOLERANCE)
        torch.testing.assert_close(again(x), clt(x), atol=TOLERANCE, rtol=TOLERANCE)
    assert again.metadata["sites_out"][1]["name"] == "blocks.1.hook_mlp_out"


def test_a_set_of_transcoders_needs_every_layer(tmp_path):
    places = []
    for layer in (0, 1, 2):
        sae = trained("relu", "transcoder")
        sae.metadata |= {"hook_name": f"blocks.{layer}.mlp.hook_in", "hook_name_out": f"blocks.{layer}.hook_mlp_out"}
        places.append(saved(sae, tmp_path / f"layer{layer}"))
    export_saes(places, tmp_path / "all", "circuit_tracer")
    assert (tmp_path / "all" / "layer_2.safetensors").is_file()
    with pytest.raises(FormatError, match=r"every layer from 0 on, each of one layer; these are of \[0, 2\]"):
        export_saes([places[0], places[2]], tmp_path / "some", "circuit_tracer")


def test_several_sites_go_into_one_run_of_sparsify(tmp_path):
    places = []
    for layer in (1, 4):
        sae = trained("topk", "")
        sae.metadata |= {"hook_name": f"blocks.{layer}.hook_resid_post", "hook_name_out": None}
        places.append(saved(sae, tmp_path / f"k{layer}"))
    export_saes(places, tmp_path / "run", "sparsify")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["config.json", "layers.1", "layers.4"]
    assert [one.source for one in import_saes(tmp_path / "run", tmp_path / "back").saes] == ["layers.1", "layers.4"]
