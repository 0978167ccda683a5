"""The peers' own code writes SAEs that we read, and reads what we write; both give the same codes and reproductions.

With SAELAB_INTEROP_JSON=data/interop.json the table of what was checked is written there (see saelab/cli/tables.py).
"""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from exports import FORMS, WRITTEN, forms_of, saved, trained
from interop_cases import CASES
from planted_rows import rows
from safetensors.torch import load_file, save_file

from saelab.errors import FormatError
from saelab.interop import FORMATS, export_saes, import_saes
from saelab.sae import VARIANTS, Replacement

PYTHON = os.environ.get("SAELAB_PEER_PYTHON")
NEEDS = (
    "needs SAELAB_PEER_PYTHON, the Python of an environment with sae-lens==6.54.12, eai-sparsify==1.3.3, "
    "dictionary-learning==0.1.0 and circuit-tracer==0.5.0"
)
TABLE = os.environ.get("SAELAB_INTEROP_JSON")
TOLERANCE = 1e-5  # fp32 sums of a few dozen terms of size 1, in another order
LIBRARIES = {
    "sae_lens": "saelens",
    "sparsify": "sparsify",
    "dictionary_learning": "dictionary_learning",
    "circuit_tracer": "circuit_tracer",
}
CHECKED = {
    "saelens": "sae-lens 6.54.12",
    "sparsify": "eai-sparsify 1.3.3",
    "dictionary_learning": "dictionary-learning 0.1.0",
    "circuit_tracer": "circuit-tracer 0.5.0",
}
KINDS = {"saelens": 31, "sparsify": 4, "dictionary_learning": 7, "circuit_tracer": 6}  # each with three seeds

pytestmark = [pytest.mark.slow, pytest.mark.skipif(PYTHON is None, reason=NEEDS)]


def run(script: str, folder: Path) -> str:
    """What a script beside this file prints in the peers' environment."""
    path = Path(__file__).with_name(script)
    environment = {**os.environ, "SPARSIFY_DISABLE_TRITON": "1"}  # it needs a GPU where Triton is installed
    done = subprocess.run(
        [str(PYTHON), str(path), str(folder)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def answers(script: str, folder: Path) -> list[dict[str, Any]]:
    """The JSON on its last line; a peer may have said something before."""
    return json.loads(run(script, folder).splitlines()[-1])


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """SAEs written by the peers, imported: of each its format, name, folder here, and what it must compute."""
    folder = tmp_path_factory.mktemp("theirs")
    run("write_with_peers.py", folder)
    found = []
    for library, format in LIBRARIES.items():
        for place in sorted(path for path in (folder / library).iterdir() if path.is_dir()):
            saes = import_saes(place, folder / "ours" / library / place.name).saes
            for one in saes:
                name = place.name if len(saes) == 1 else f"{place.name}-{one.source}"
                found.append((format, name, one.folder, load_file(folder / library / f"{name}.safetensors")))
    return found


def apart(folder: Path, expected: dict[str, torch.Tensor]) -> float:
    """The largest difference of codes and reproductions."""
    sae = Replacement.load(folder)
    with torch.no_grad():
        f, x_hat = sae.encode(expected["x"]), sae(expected["x"])
    assert (f > 0).any(), folder
    return max((f - expected["f"]).abs().max().item(), (x_hat - expected["x_hat"]).abs().max().item())


def kind_of(name: str) -> str:
    """Without hookpoint and seed."""
    return re.sub(r"(-layers\..*)?-(seed)?\d+$", "", name)


def test_what_the_peers_write_computes_the_same_here(theirs):
    for format, name, folder, expected in theirs:
        assert apart(folder, expected) <= TOLERANCE, (format, name)
    for format, count in KINDS.items():
        kinds = [kind_of(name) for each, name, _, _ in theirs if each == format]
        assert len(set(kinds)) == count and len(kinds) == 3 * count, sorted(set(kinds))


def test_what_was_imported_goes_back_to_its_library(theirs, tmp_path):
    for format, name, folder, expected in theirs:
        export_saes([folder], tmp_path / format / name, format)
        save_file(expected, tmp_path / format / f"{name}.safetensors")
    found = answers("read_with_peers.py", tmp_path)
    assert len(found) == len(theirs)
    assert not [each for each in found if not each["equal"]]


def exported(folder: Path) -> list[dict[str, Any]]:
    """Every variant in every form in the peers' formats; the rows of the table, without a verdict yet."""
    table = []
    for variant, form, format in [(v, form, f) for v in VARIANTS for form in forms_of(v) for f in WRITTEN]:
        name, sae, x = f"{variant}-{form.replace(' ', '-') or 'sae'}", trained(variant, form), rows(50, seed=8)
        row = {"format": format, "direction": "export", "kind": variant, "form": form, "name": name}
        checkpoint = folder / "checkpoints" / name
        checkpoint = checkpoint if checkpoint.is_dir() else saved(sae, checkpoint)
        try:
            export_saes([checkpoint], folder / "exports" / format / name, format)
        except FormatError as error:
            table.append(row | {"as": None, "why": str(error).split(": ", 1)[1].split(". Codes")[0]})
            continue
        with torch.no_grad():
            content = {"x": x, "f": sae.encode(x), "x_hat": sae(x)}
        save_file(content, folder / "exports" / format / f"{name}.safetensors")
        table.append(row | {"as": WRITTEN[format][variant, form]})
    return table


def test_every_variant_is_read_by_the_peers_or_refused(tmp_path, theirs):
    table = exported(tmp_path)
    found = {(row["format"], row["name"]): row for row in answers("read_with_peers.py", tmp_path / "exports")}
    for row in table:
        verdict = found.get((row["format"], row["name"]))
        if row["as"] is None:
            assert verdict is None
            row["checked"] = None
            continue
        assert verdict is not None and verdict["equal"], (row, verdict)
        row |= {"checked": CHECKED[row["format"]], "apart": verdict["apart"]}
    if TABLE:
        Path(TABLE).write_text(json.dumps({"rows": imported(theirs) + table}, indent=1) + "\n", encoding="utf-8")


def imported(theirs: list[Any]) -> list[dict[str, Any]]:
    """The rows of imports: the peers' SAEs, and the cases that tests/interop writes itself."""
    table = []
    for format, kind in dict.fromkeys((format, kind_of(name)) for format, name, _, _ in theirs):
        same = [(folder, expected) for f, name, folder, expected in theirs if (f, kind_of(name)) == (format, kind)]
        form, _, plain = kind.rpartition("-") if format == "saelens" else ("", "", kind)
        row = {"format": format, "direction": "import", "kind": plain, "form": form, "checked": CHECKED[format]}
        row["as"] = Replacement.load(same[0][0]).cfg.variant
        table.append(row | {"apart": max(apart(folder, expected) for folder, expected in same)})
    for case in CASES:
        if case.format not in CHECKED:
            row = {"format": case.format, "direction": "import", "kind": case.kind, "form": "", "as": "yes"}
            table.append(row | {"checked": "files written by the tests"})
    assert {row["format"] for row in table} == set(FORMATS) and set(FORMS)
    return table
