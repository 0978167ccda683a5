"""A cross-layer transcoder as circuit-tracer lays it out: two files per source layer (see circuit_tracer)."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saelab.errors import FormatError
from saelab.interop.files import open_safetensors
from saelab.interop.format import cannot, save_tensors
from saelab.interop.found import Found
from saelab.sae.replacements import CLT
from saelab.sae.sites import READ, WRITTEN


def read_clt(path: Path) -> list[Found]:
    files = [file for file in path.iterdir() if re.fullmatch(r"W_enc_\d+\.safetensors", file.name)]
    layers = len(files)
    parts = [_encoder(path, layer) for layer in range(layers)]
    if len({"threshold" in part for part in parts}) > 1:
        raise FormatError(f"{path}: some layers have thresholds and others have none.")
    (n, d), shapes = parts[0]["W_enc"].shape, {tuple(part["W_enc"].shape) for part in parts}
    if len(shapes) > 1:
        raise FormatError(f"{path}: layers have encoders of different shapes, {sorted(shapes)}.")
    tensors: dict[str, Tensor] = {}
    for layer, part in enumerate(parts):
        tensors[f"encoders.{layer}"] = part["W_enc"]
        name = f"W_dec_{layer}"
        raw = open_safetensors(path / f"{name}.safetensors").read(
            {name: (n, layers - layer, d)}, "the number of layers"
        )
        tensors[f"decoders.{layer}"] = raw[name].flatten(1)
    tensors["b_enc"] = torch.stack([part["b_enc"] for part in parts])
    tensors["b_dec"] = torch.cat([part["b_dec"] for part in parts])
    activation = "jumprelu" if "threshold" in parts[0] else "relu"
    if activation == "jumprelu":
        tensors["threshold"] = torch.stack([part["threshold"] for part in parts])
    settings = {"variant": "clt", "layers": layers, "d_in": layers * d, "d_out": layers * d, "d_sae": layers * n}
    paths = [path / f"W_{end}_{layer}.safetensors" for layer in range(layers) for end in ("enc", "dec")]
    found = Found(settings | {"activation": activation}, tensors, _sites(layers, d), paths)
    found.done.append("decoders kept by source layer, flattened to one row per feature")
    return [found]


def _encoder(path: Path, layer: int) -> dict[str, Tensor]:
    """One layer's encoder and biases under names without its number."""
    file = open_safetensors(path / f"W_enc_{layer}.safetensors")
    n, d = file.shape(f"W_enc_{layer}", "d_sae d_in")
    shapes: dict[str, tuple[int, ...]] = {f"W_enc_{layer}": (n, d), f"b_enc_{layer}": (n,), f"b_dec_{layer}": (d,)}
    if f"threshold_{layer}" in file.header:
        shapes[f"threshold_{layer}"] = (n,)
    return {name.removesuffix(f"_{layer}"): t for name, t in file.read(shapes, f"W_enc_{layer}'s shape").items()}


def _sites(layers: int, d: int) -> dict[str, Any]:
    """The layers' MLPs, as a checkpoint of several sites notes them."""
    ends = {READ: "mlp.hook_in", WRITTEN: "hook_mlp_out"}
    return {
        key: [{"name": f"blocks.{layer}.{hook}", "d": d, "scale": 1.0} for layer in range(layers)]
        for key, hook in ends.items()
    }


def write_clt(clt: CLT, folder: Path) -> None:
    cfg = clt.cfg
    if cfg.activation == "topk":
        raise cannot(clt, "circuit_tracer", "it knows ReLU and a threshold for each feature, not top-k")
    if cfg.width_out != cfg.d_in:
        raise cannot(clt, "circuit_tracer", f"it reads width {cfg.d_in} and writes width {cfg.width_out}")
    for layer, b_dec in enumerate(clt.b_dec.detach().chunk(cfg.n_layers)):
        tensors = {"W_enc": clt.encoders[layer], "b_enc": clt.b_enc[layer], "b_dec": b_dec}
        if clt.log_threshold is not None:
            tensors["threshold"] = clt.log_threshold[layer].exp()
        save_tensors(folder / f"W_enc_{layer}.safetensors", {f"{name}_{layer}": t for name, t in tensors.items()})
        save_tensors(folder / f"W_dec_{layer}.safetensors", {f"W_dec_{layer}": clt.decoder(layer)})
