"""A checkpoint on disk: a folder that SAELens 6 loads as it is, with what only saelab needs kept apart.

    sae_weights.safetensors   W_enc, b_enc, W_dec, b_dec (, threshold, W_skip) under SAELens' names and no other tensor
    saelab.safetensors        the rest of the state: counters, log thresholds
    cfg.json                  SAELens' keys; ours under metadata.saelab; written last, with size and crc32 of both
                              files, and sealed

Reading looks at the headers before it allocates anything: names, dtypes and shapes must be those that cfg.json implies.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from saelab import sealed
from saelab.atomic import aside, publish
from saelab.errors import CheckpointError, ConfigError
from saelab.sae.base import SAE

CONFIG, WEIGHTS, EXTRA = "cfg.json", "sae_weights.safetensors", "saelab.safetensors"
FORMAT = 1
SAE_LENS_VERSION = "6.54.12"  # whose format this is; below 6 SAELens takes its legacy path and drops the metadata
# Metadata that SAELens, SAEDashboard or Neuronpedia look for; everything else goes under metadata.saelab.
KNOWN = (
    "model_name", "model_class_name", "hook_name", "hook_name_out", "hook_head_index", "context_size", "prepend_bos",
    "dataset_path", "seqpos_slice", "exclude_special_tokens", "sequence_separator_token", "disable_concat_sequences",
    "model_from_pretrained_kwargs", "neuronpedia_id",
)  # fmt: skip
DTYPES = {torch.float32: "F32", torch.int64: "I64"}


def save(sae: SAE, folder: Path) -> None:
    """Write the checkpoint; a folder that held another one changes only once all of this one is on disk."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: _aside(folder / name, tensors) for name, tensors in _contents(sae).items()}
    for name in files:
        publish(_tmp(folder / name), folder / name)
    sealed.write(folder / CONFIG, _config(sae, files))


def _contents(sae: SAE) -> dict[str, dict[str, Tensor]]:
    """The tensors of each file; where both hold one name, EXTRA has what the SAE itself goes by."""
    weights = sae.exported()
    extra = {n: t for n, t in sae.state_dict().items() if n not in weights or n in sae.restated}
    return {WEIGHTS: weights, EXTRA: extra}


def _tmp(path: Path) -> Path:
    return path.with_name(path.name + ".tmp")


def _aside(path: Path, tensors: dict[str, Tensor]) -> dict[str, int]:
    """Write the file beside its place; its size and checksum."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with aside(path) as tmp:
        save_file(plain, tmp, metadata={"format": "pt"})
        return sealed.digest(tmp)


def _config(sae: SAE, files: dict[str, dict[str, int]]) -> dict[str, Any]:
    cfg, metadata = sae.cfg, sae.metadata
    known = {key: metadata[key] for key in KNOWN if key in metadata}
    ours = {key: value for key, value in metadata.items() if key not in KNOWN}
    return {
        "architecture": sae.architecture,
        "d_in": cfg.d_in,
        "d_sae": cfg.d_sae,
        **({"d_out": cfg.width_out} if cfg.transcoder else {}),
        **sae.exported_settings(),
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": cfg.apply_b_dec_to_input,
        "normalize_activations": "none",
        "reshape_activations": "hook_z" if str(metadata.get("hook_name")).endswith("hook_z") else "none",
        "metadata": {
            "sae_lens_version": SAE_LENS_VERSION,
            **known,
            "saelab": {"format": FORMAT, "sae": cfg.model_dump(mode="json"), "files": files, "metadata": ours},
        },
    }


def load(folder: Path, device: str, among: Mapping[str, type[SAE]] | None = None) -> SAE:
    """Read a checkpoint of a kind in `among`, None: of a variant. Raises CheckpointError naming what is wrong."""
    config = _read_config(folder)
    ours = config["metadata"]["saelab"]
    with torch.device("meta"):
        sae = _empty(folder, ours["sae"], among)
        expected = _expected(sae)
    for file in (WEIGHTS, EXTRA):
        _check_header(folder / file, expected[file])
    for file in (WEIGHTS, EXTRA):
        if sealed.digest(folder / file) != ours["files"].get(file):
            raise _damaged(folder, f"{file} is not the file that {CONFIG} was written with (size or checksum differ)")
    tensors = {name: t for file in (WEIGHTS, EXTRA) for name, t in _read(folder / file, device).items()}
    state = {name: tensors[name] for name in sae.state_dict()}
    if sae.has_encoder:
        state["W_enc"] = state["W_enc"].t().contiguous().t()  # a feature's weights contiguous, as in training
    sae.load_state_dict(state, assign=True)
    known = {key: value for key, value in config["metadata"].items() if key in KNOWN}
    sae.metadata = {**known, **ours["metadata"]}
    return sae.eval()


def of_another_library(folder: Path) -> bool:
    """Whether the folder's cfg.json is whole and nothing of saelab's is in it or beside it."""
    try:
        config = json.loads((folder / CONFIG).read_bytes())
    except (ValueError, OSError, RecursionError):
        return False
    metadata = config.get("metadata") if isinstance(config, dict) else {"saelab": None}
    ours = "seal" in config or (isinstance(metadata, dict) and "saelab" in metadata)
    return not ours and not any((folder / name).exists() for name in (EXTRA, "training.json", "metrics.jsonl"))


def _read_config(folder: Path) -> dict[str, Any]:
    """cfg.json, known to be one of ours and of a format this version reads."""
    path = folder / CONFIG
    try:
        config = sealed.read(path)
    except FileNotFoundError:
        raise CheckpointError(f"{folder} holds no finished checkpoint: there is no {CONFIG}.") from None
    except (ValueError, OSError) as error:
        raise _damaged(folder, f"{CONFIG} cannot be read ({error})") from None
    metadata = config.get("metadata")
    ours = metadata.get("saelab") if isinstance(metadata, dict) else None
    if not isinstance(ours, dict):
        raise CheckpointError(f"{path} has no metadata.saelab: this SAE was not saved by saelab.")
    if ours.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {ours.get('format')!r}; this version of saelab reads format {FORMAT}."
        )
    missing = {"sae", "files", "metadata"} - ours.keys()
    if missing or not all(isinstance(ours[key], dict) for key in ("sae", "files", "metadata")):
        raise _damaged(folder, f"{CONFIG} lacks metadata.saelab.{min(missing, default='sae')}")
    return config


def _empty(folder: Path, values: dict[str, Any], among: Mapping[str, type[SAE]] | None) -> SAE:
    from saelab.sae import REPLACEMENTS, VARIANTS, sae_config

    try:
        cfg = sae_config(values, where=f"{CONFIG}: metadata.saelab.sae")
    except ConfigError as error:
        raise _damaged(folder, str(error)) from None
    kinds = VARIANTS if among is None else among
    if cfg.variant not in kinds:
        kind = REPLACEMENTS[cfg.variant]
        raise CheckpointError(
            f"{folder} holds a {cfg.variant}, which {kind.differs}; what was asked takes an SAE.\n"
            f"  fix:   name the checkpoint of an SAE, or in Python read this one with {kind.__name__}.load"
        )
    return kinds[cfg.variant](cfg)


def _expected(sae: SAE) -> dict[str, dict[str, tuple[str, list[int]]]]:
    """Per file, each tensor's dtype and shape."""
    return {
        file: {n: (DTYPES[t.dtype], list(t.shape)) for n, t in tensors.items()}
        for file, tensors in _contents(sae).items()
    }


def _check_header(path: Path, expected: dict[str, tuple[str, list[int]]]) -> None:
    """Raise CheckpointError unless the file holds exactly these tensors."""
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            found = {name: (part.get_dtype(), list(part.get_shape())) for name, part in slices.items()}
    except FileNotFoundError:
        raise _damaged(path.parent, f"{path.name} is missing") from None
    except (SafetensorError, OSError) as error:
        raise _damaged(path.parent, f"{path.name} cannot be read ({error})") from None
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            there, wanted = _plain(found.get(name)), _plain(expected.get(name))
            raise _damaged(path.parent, f"{path.name}: {name} is {there}, where {CONFIG} implies {wanted}")


def _plain(tensor: tuple[str, list[int]] | None) -> str:
    return "missing" if tensor is None else f"{tensor[0]} {tensor[1]}"


def _read(path: Path, device: str) -> dict[str, Tensor]:
    with safe_open(path, framework="pt", device=device) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise _damaged(path.parent, f"{path.name}: {name} holds values that are not finite")
    return tensors


def _damaged(folder: Path, what: str) -> CheckpointError:
    return CheckpointError(f"{folder} is damaged: {what}.\n  fix:   train it again, or restore the folder from a copy")
