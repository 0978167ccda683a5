"""Gemma Scope 2: params.safetensors and config.json; JumpReLU, with an affine skip connection in some transcoders.

b_dec is not taken off the input. affine_skip_connection is [d_in, d_out] there, W_skip [d_out, d_in] here.
"""

import re
from pathlib import Path
from typing import Any

from saelab.errors import FormatError
from saelab.interop.files import needed, open_safetensors, read_json
from saelab.interop.format import Format
from saelab.interop.found import Found, note_dtypes

CONFIG, WEIGHTS = "config.json", "params.safetensors"
KEYS = ("architecture", "model_name", "hf_hook_point_in", "hf_hook_point_out", "affine_connection")
SITES = {"resid_post": "hook_resid_post", "mlp_out": "hook_mlp_out", "attn_out": "attn.hook_z"}


def detect(path: Path) -> bool:
    return (path / WEIGHTS).is_file()


def read(path: Path) -> list[Found]:
    values, where = read_json(path / CONFIG), str(path / CONFIG)
    architecture = needed(values, "architecture", str, where)
    if architecture != "jump_relu":
        raise FormatError(f"{where}: architecture = {architecture!r}; of Gemma Scope 2 saelab reads jump_relu.")
    read_at, written_at = (needed(values, key, str, where) for key in ("hf_hook_point_in", "hf_hook_point_out"))
    file, skip = open_safetensors(path / WEIGHTS), bool(values.get("affine_connection", False))
    if "w_dec" in file.header and len(file.header["w_dec"][1]) == 3:
        raise FormatError(f"{path / WEIGHTS} is one layer of a CLT, with a decoder for every later one: no SAE.")
    d, n = file.shape("w_enc", "d_in d_sae")
    out = file.shape("w_dec", "d_sae d_out")[1]
    shapes = {"w_enc": (d, n), "w_dec": (n, out), "b_enc": (n,), "b_dec": (out,), "threshold": (n,)}
    raw = file.read(shapes | ({"affine_skip_connection": (d, out)} if skip else {}), CONFIG)
    names = {"w_enc": "W_enc", "w_dec": "W_dec", "affine_skip_connection": "W_skip"}
    tensors = {names.get(name, name): t.t() if name.startswith("affine") else t for name, t in raw.items()}
    settings: dict[str, Any] = {"variant": "jumprelu", "d_in": d, "d_sae": n, "apply_b_dec_to_input": False}
    if read_at != written_at:
        settings |= {"d_out": out, "transcoder": True, "skip": skip}
    found = Found(settings, tensors, {}, [path / CONFIG, path / WEIGHTS])
    found.metadata["model_name"] = needed(values, "model_name", str, where)
    found.done.append("b_dec is not taken off the input")
    if others := sorted(values.keys() - set(KEYS)):
        found.done.append(f"{CONFIG}: not read: {', '.join(others)}")
    note_dtypes(found, file.dtypes)
    _place(found, path, read_at != written_at)
    return [found]


def _place(found: Found, path: Path, transcoder: bool) -> None:
    """From the folders' names, as layer_9_width_16k below resid_post."""
    above = "/".join(path.resolve().parts[-4:])
    layer = re.search(r"layer_(\d+)", above)
    kind = next((kind for kind in SITES if kind in above), None)
    if layer and transcoder:
        found.at(f"blocks.{layer[1]}.mlp.hook_in", f"blocks.{layer[1]}.hook_mlp_out")
    elif layer and kind:
        found.at(f"blocks.{layer[1]}.{SITES[kind]}", f"blocks.{layer[1]}.{SITES[kind]}")
    else:
        found.done.append("no folder above it says layer and site")


FORMAT = Format(f"{WEIGHTS} and {CONFIG}", detect, read)
