"""Gemma Scope 1: layer_N/width_16k/average_l0_M/params.npz, JumpReLU, b_dec not taken off the input.

The folders above say layer, width and L0; the repository's name, gemma-scope-2b-pt-res say, where in which model.
"""

import re
from pathlib import Path

from saelab.errors import FormatError
from saelab.interop.files import open_npz
from saelab.interop.format import Format
from saelab.interop.found import Found, note_dtypes

WEIGHTS = "params.npz"
SPELLINGS = {"w_enc": "W_enc", "w_dec": "W_dec"}
REPOSITORY = re.compile(r"gemma-scope-(\d+b)-(pt|it)-(res|mlp|att)(?:-|$)")
SITES = {"res": "hook_resid_post", "mlp": "hook_mlp_out", "att": "attn.hook_z"}


def _file(path: Path) -> Path:
    return path / WEIGHTS if path.is_dir() else path


def detect(path: Path) -> bool:
    return _file(path).name == WEIGHTS and _file(path).is_file()


def read(path: Path) -> list[Found]:
    file = open_npz(_file(path))
    parts = file.path.resolve().parts
    if "embedding" in parts:
        raise FormatError(f"{path} reads the embedding, where saelab has no site: nothing here could use it.")
    spelt = {SPELLINGS.get(name, name): name for name in file.header}
    d, n = file.shape(spelt.get("W_enc", "W_enc"), "d_in d_sae")
    out = file.shape(spelt.get("W_dec", "W_dec"), "d_sae d_out")[1]
    shapes = {"W_enc": (d, n), "W_dec": (n, out), "b_enc": (n,), "b_dec": (out,), "threshold": (n,)}
    raw = file.read({spelt.get(name, name): shape for name, shape in shapes.items()}, "the shape of W_enc")
    settings = {"variant": "jumprelu", "d_in": d, "d_sae": n, "apply_b_dec_to_input": False}
    settings |= {"d_out": out} if out != d else {}
    found = Found(settings, {SPELLINGS.get(name, name): t for name, t in raw.items()}, {}, [file.path])
    found.done.append("b_dec is not taken off the input")
    note_dtypes(found, file.dtypes)
    _place(found, parts)
    return [found]


def _place(found: Found, parts: tuple[str, ...]) -> None:
    """What the folders' names say, and no more."""
    layer = _first(r"layer_(\d+)", parts)
    if l0 := _first(r"average_l0_(\d+)", parts):
        found.metadata["average_l0"] = int(l0)
    repository = next((match for part in parts if (match := REPOSITORY.search(part))), None)
    if repository is None or layer is None:
        found.done.append("no folder gemma-scope-…/layer_N above it that would say which model and site")
        return
    size, tuning, kind = repository.groups()
    found.metadata["model_name"] = f"google/gemma-2-{size}{'-it' if tuning == 'it' else ''}"
    found.at(f"blocks.{layer}.{SITES[kind]}", f"blocks.{layer}.{SITES[kind]}")


def _first(pattern: str, parts: tuple[str, ...]) -> str | None:
    return next((match[1] for part in parts if (match := re.fullmatch(pattern, part))), None)


FORMAT = Format(WEIGHTS, detect, read)
