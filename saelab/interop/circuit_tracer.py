"""circuit-tracer 0.5: config.yaml and the transcoders of every layer, or one cross-layer transcoder.

    transcoder_set            layer_{i}.safetensors: W_enc [F, d], W_dec [F, d], b_enc, b_dec, and optionally W_skip
                              [d, d] and activation_function.threshold [F]; without it ReLU
    cross_layer_transcoder    W_enc_{i}.safetensors: W_enc_{i} [F, d], b_enc_{i}, b_dec_{i}, optionally threshold_{i};
                              W_dec_{i}.safetensors: W_dec_{i} [F, L - i, d]

b_dec is not taken off the input. It knows no top-k, so a TopK transcoder cannot be written.
"""

import re
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from saelab.atomic import write_bytes
from saelab.config import read_yaml
from saelab.errors import FormatError
from saelab.interop.circuit_tracer_clt import read_clt, write_clt
from saelab.interop.files import JSON_BYTES, closed, needed, open_safetensors
from saelab.interop.format import NOT_EXACT, Format, cannot, save_tensors
from saelab.interop.found import Found, note_dtypes
from saelab.sae import SAE
from saelab.sae.replacements import CLT

CONFIG = "config.yaml"
KEYS = {"model_name", "model_kind", "feature_input_hook", "feature_output_hook", "scan", "transcoders"}
THRESHOLD = "activation_function.threshold"


def detect(path: Path) -> bool:
    names = ("layer_0.safetensors", "W_enc_0.safetensors")
    return (path / CONFIG).is_file() and any((path / name).is_file() for name in names)


def read(path: Path) -> list[Found]:
    where = str(path / CONFIG)
    if (path / CONFIG).is_file() and (path / CONFIG).stat().st_size > JSON_BYTES:
        raise FormatError(f"{where} has more than {JSON_BYTES:,} bytes, which no configuration has.")
    values = read_yaml(path / CONFIG)
    closed(values, KEYS, where)
    if values.get("transcoders"):
        raise FormatError(f"{where} names transcoders in other places; saelab reads those beside it, layer_0 and on.")
    kind = needed(values, "model_kind", str, where)
    if kind not in ("transcoder_set", "cross_layer_transcoder"):
        raise FormatError(f"{where}: model_kind = {kind!r}; it may be transcoder_set or cross_layer_transcoder.")
    found = read_clt(path) if kind == "cross_layer_transcoder" else _read_set(path)
    for layer, one in enumerate(found):
        one.metadata["model_name"] = needed(values, "model_name", str, where)
        if kind == "transcoder_set":
            hooks = (needed(values, f"feature_{end}_hook", str, where) for end in ("input", "output"))
            one.at(*(f"blocks.{layer}.{hook}" for hook in hooks))
    return found


def _read_set(path: Path) -> list[Found]:
    numbers = sorted(
        int(m[1]) for file in path.iterdir() if (m := re.fullmatch(r"layer_(\d+)\.safetensors", file.name))
    )
    if numbers != list(range(len(numbers))):
        raise FormatError(f"{path} has transcoders of layers {numbers}; every layer from 0 on must be there.")
    return [_read_layer(path / f"layer_{layer}.safetensors") for layer in numbers]


def _read_layer(path: Path) -> Found:
    file = open_safetensors(path)
    n, d = file.shape("W_enc", "d_sae d_in")
    out = file.shape("W_dec", "d_sae d_out")[1]
    shapes: dict[str, tuple[int, ...]] = {"W_enc": (n, d), "W_dec": (n, out), "b_enc": (n,), "b_dec": (out,)}
    optional: dict[str, tuple[int, ...]] = {"W_skip": (out, d), THRESHOLD: (n,)}
    raw = file.read(shapes | {name: s for name, s in optional.items() if name in file.header}, "W_enc's shape")
    tensors = {("threshold" if name == THRESHOLD else name): t for name, t in raw.items()}
    tensors["W_enc"] = tensors["W_enc"].t()
    variant = "jumprelu" if THRESHOLD in raw else "relu"
    settings = {"variant": variant, "d_in": d, "d_sae": n, "d_out": out, "transcoder": True, "skip": "W_skip" in raw}
    found = Found(settings, tensors, {}, [path], name=path.stem)
    found.done.append("W_enc turned to [d_in, d_sae]")
    note_dtypes(found, file.dtypes)
    return found


def write(saes: dict[str, SAE], folder: Path) -> list[str]:
    first = next(iter(saes.values()))
    if isinstance(first, CLT) and len(saes) == 1:
        write_clt(first, folder)
        hooks, kind = ("mlp.hook_in", "hook_mlp_out"), "cross_layer_transcoder"
    else:
        hooks, kind = _write_set(list(saes.values()), folder), "transcoder_set"
    model = first.metadata.get("model_name")
    values: dict[str, Any] = {"model_name": model, "model_kind": kind, "scan": model}
    values |= {"feature_input_hook": hooks[0], "feature_output_hook": hooks[1]}
    write_bytes(folder / CONFIG, yaml.safe_dump(values, sort_keys=False).encode())
    return [f"{first.cfg.variant} is written as one of a {kind}", "W_enc turned to [d_sae, d_in]"]


def _write_set(saes: list[SAE], folder: Path) -> tuple[str, str]:
    """One file per layer; what they read and write, the layer left out."""
    for sae in saes:
        _require_pointwise(sae)
    read_at = [_split(sae, "hook_name") for sae in saes]
    written = [_split(sae, "hook_name_out") for sae in saes]
    layers = [layer for layer, _ in read_at]
    hooks = {hook for _, hook in read_at}, {hook for _, hook in written}
    if sorted(layers) != list(range(len(saes))) or layers != [layer for layer, _ in written]:
        raise FormatError(
            f"circuit-tracer wants the transcoder of every layer from 0 on, each of one layer; these are of {layers}.\n"
            "  fix:   name one checkpoint for each layer of the model"
        )
    if len(hooks[0]) > 1 or len(hooks[1]) > 1:
        raise FormatError(f"all transcoders of a set read and write the same places; these: {hooks[0]} and {hooks[1]}.")
    for layer, sae in zip(layers, saes, strict=True):
        save_tensors(folder / f"layer_{layer}.safetensors", _named(sae.exported()))
    return hooks[0].pop(), hooks[1].pop()


def _require_pointwise(sae: SAE) -> None:
    if not sae.cfg.transcoder:
        raise cannot(sae, "circuit_tracer", "it takes transcoders")
    kinds = ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder")
    if sae.architecture not in kinds or sae.cfg.variant in NOT_EXACT:
        raise cannot(sae, "circuit_tracer", "it knows ReLU and a threshold for each feature")
    if sae.cfg.width_out != sae.cfg.d_in:
        raise cannot(sae, "circuit_tracer", f"it reads width {sae.cfg.d_in} and writes width {sae.cfg.width_out}")


def _split(sae: SAE, key: str) -> tuple[int, str]:
    """Layer, and the place within it."""
    match = re.fullmatch(r"blocks\.(\d+)\.(.+)", str(sae.metadata.get(key)))
    if match is None:
        raise FormatError(f"a checkpoint's {key} is {sae.metadata.get(key)!r}, which is no site of one layer.")
    return int(match[1]), match[2]


def _named(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    named = {(THRESHOLD if name == "threshold" else name): t for name, t in tensors.items()}
    return named | {"W_enc": tensors["W_enc"].t()}


FORMAT = Format(f"{CONFIG} and layer_0.safetensors or W_enc_0.safetensors", detect, read, write, several=True)
