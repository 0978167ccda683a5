"""Files as other libraries write them, at odd sizes, by a few lines of our own; and what such an SAE computes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

D, N, K = 7, 19, 3
METADATA = {"sae_lens_version": "6.54.12", "model_name": "pico", "hook_name": "blocks.1.hook_resid_post"}


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + 7 * len(shape) + sum(shape)))


def parts(d: int = D, n: int = N, out: int | None = None) -> dict[str, Tensor]:
    """W_enc [d, n], b_enc, W_dec [n, out], b_dec, threshold, W_skip."""
    out = out or d
    W_enc, W_dec = numbers(d, n), numbers(n, out, seed=1)
    return {
        "W_enc": W_enc, "b_enc": 0.3 * numbers(n), "W_dec": W_dec, "b_dec": 0.3 * numbers(out, seed=2),
        "threshold": numbers(n, seed=3).abs(), "W_skip": numbers(out, d, seed=4),
    }  # fmt: skip


def pre(t: dict[str, Tensor], x: Tensor, centred: bool) -> Tensor:
    return (x - t["b_dec"] if centred else x) @ t["W_enc"] + t["b_enc"]


def top(values: Tensor, k: int = K) -> Tensor:
    kept = values.relu().topk(k, dim=1)
    return torch.zeros_like(values).scatter(1, kept.indices, kept.values)


def tensors_to(path: Path, tensors: dict[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def json_to(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")


def saelens(folder: Path, tensors: dict[str, Tensor], **changes: Any) -> Path:
    """A folder of SAELens 6; a key set to None is left out."""
    values = {
        "architecture": "standard", "d_in": D, "d_sae": N, "dtype": "float32", "device": "cpu",
        "apply_b_dec_to_input": True, "normalize_activations": "none", "reshape_activations": "none",
        "metadata": METADATA, **changes,
    }  # fmt: skip
    json_to(folder / "cfg.json", {key: value for key, value in values.items() if value is not None})
    tensors_to(folder / "sae_weights.safetensors", tensors)
    return folder


def sparsify(folder: Path, tensors: dict[str, Tensor], **changes: Any) -> Path:
    values = {"activation": "topk", "expansion_factor": 2, "normalize_decoder": True, "num_latents": N, "k": K,
              "multi_topk": False, "skip_connection": False, "transcode": False, "d_in": D, **changes}  # fmt: skip
    json_to(folder / "cfg.json", {key: value for key, value in values.items() if value is not None})
    named = {"encoder.weight": tensors["W_enc"].t(), "encoder.bias": tensors["b_enc"]}
    kept = {name: tensors[name] for name in ("W_dec", "b_dec", *(["W_skip"] if values["skip_connection"] else []))}
    tensors_to(folder / "sae.safetensors", named | kept)
    return folder


def dictionary_learning(folder: Path, tensors: dict[str, Tensor], dict_class: str, **changes: Any) -> Path:
    trainer = {"dict_class": dict_class, "activation_dim": D, "dict_size": N, "lm_name": "pico", "layer": 1,
               "submodule_name": "resid_post_layer_1", **changes}  # fmt: skip
    json_to(folder / "config.json", {"trainer": {k: v for k, v in trainer.items() if v is not None}, "buffer": {}})
    torch.save(tensors, folder / "ae.pt")
    return folder


def linear(t: dict[str, Tensor]) -> dict[str, Tensor]:
    """As nn.Linear lays encoder and decoder out."""
    return {"encoder.weight": t["W_enc"].t(), "encoder.bias": t["b_enc"], "decoder.weight": t["W_dec"].t()}


def gemma_scope(folder: Path, tensors: dict[str, Tensor]) -> Path:
    place = folder / "gemma-scope-2b-pt-res" / "layer_5" / "width_16k" / "average_l0_42"
    place.mkdir(parents=True)
    names = ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")
    np.savez(place / "params.npz", **{name: tensors[name].numpy() for name in names})
    return place


def gemma_scope_2(folder: Path, t: dict[str, Tensor], skip: bool) -> Path:
    place = folder / "transcoder" / "layer_3_width_16k_l0_small"
    named = {"w_enc": t["W_enc"], "w_dec": t["W_dec"], "b_enc": t["b_enc"], "b_dec": t["b_dec"]}
    named |= {"threshold": t["threshold"]} | ({"affine_skip_connection": t["W_skip"].t()} if skip else {})
    tensors_to(place / "params.safetensors", named)
    hooks = {"hf_hook_point_in": "in", "hf_hook_point_out": "out", "affine_connection": skip}
    json_to(place / "config.json", {"architecture": "jump_relu", "model_name": "google/gemma-3-1b-pt"} | hooks)
    return place


def openai(folder: Path, t: dict[str, Tensor], activation: str = "ReLU") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    named = {"encoder.weight": t["W_enc"].t(), "latent_bias": t["b_enc"], "decoder.weight": t["W_dec"].t()}
    counters = {"stats_last_nonzero": torch.zeros(N, dtype=torch.int64)}
    torch.save({**named, "pre_bias": t["b_dec"], **counters, "activation": activation}, folder / "5.pt")
    return folder / "5.pt"


def llamascopium(folder: Path, t: dict[str, Tensor], act: str, **changes: Any) -> Path:
    named = {"W_E": t["W_enc"], "b_E": t["b_enc"], "W_D": t["W_dec"], "b_D": t["b_dec"]}
    named |= {"activation_function.log_jumprelu_threshold": t["threshold"].log()} if act == "jumprelu" else {}
    norm = {"dataset_average_activation_norm.blocks.1.hook_resid_post": torch.tensor(3.0)}
    tensors_to(folder / "sae_weights.safetensors", named | norm)
    site = "blocks.1.hook_resid_post"
    values = {"sae_type": "sae", "d_model": D, "expansion_factor": N / D, "act_fn": act, "norm_activation": "inference"}
    values |= {"top_k": K, "sparsity_include_decoder_norm": False, "hook_point_in": site, "hook_point_out": site}
    json_to(folder / "config.json", values | changes)
    return folder


def circuit_tracer(folder: Path, layers: list[dict[str, Tensor]], names: tuple[str, ...], **changes: Any) -> Path:
    """A set of transcoders; `names` are the optional tensors written."""
    for layer, t in enumerate(layers):
        spelt = {"threshold": "activation_function.threshold"}
        kept = {spelt.get(name, name): t[name] for name in ("W_dec", "b_enc", "b_dec", *names)}
        tensors_to(folder / f"layer_{layer}.safetensors", kept | {"W_enc": t["W_enc"].t()})
    values = {"model_name": "pico", "model_kind": "transcoder_set", "feature_input_hook": "mlp.hook_in",
              "feature_output_hook": "hook_mlp_out", "scan": "pico", **changes}  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump({k: v for k, v in values.items() if v is not None}))
    return folder
