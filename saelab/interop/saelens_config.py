"""What a cfg.json of SAELens says: version 6's, a training checkpoint's, and the flat one of versions 3 to 5."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saelab.errors import FormatError
from saelab.interop.files import closed, needed, width

TRANSCODERS = ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder")
COMMON = {
    "architecture", "d_in", "d_sae", "d_out", "dtype", "device", "apply_b_dec_to_input", "normalize_activations",
    "reshape_activations", "metadata", "k", "rescale_acts_by_decoder_norm", "residual_threshold", "max_iterations",
    "stop_on_duplicate_support",
}  # fmt: skip
TRAINING = {
    "decoder_init_norm", "l1_coefficient", "lp_norm", "l1_warm_up_steps", "use_sparse_activations",
    "aux_loss_coefficient", "jumprelu_init_threshold", "jumprelu_bandwidth", "jumprelu_sparsity_loss_mode",
    "l0_coefficient", "l0_warm_up_steps", "pre_act_loss_coefficient", "jumprelu_tanh_scale", "jumprelu_ste_to_input",
    "target_l0", "topk_threshold_lr", "matryoshka_widths", "use_matryoshka_aux_loss",
}  # fmt: skip
LEGACY = {
    "architecture", "d_in", "d_sae", "dtype", "device", "apply_b_dec_to_input", "normalize_activations",
    "reshape_activations", "activation_fn", "activation_fn_str", "activation_fn_kwargs", "finetuning_scaling_factor",
    "model_name", "model_class_name", "hook_name", "hook_point", "hook_layer", "hook_point_layer", "hook_head_index",
    "hook_point_head_index", "context_size", "prepend_bos", "dataset_path", "dataset_trust_remote_code",
    "sae_lens_training_version", "sae_lens_version", "neuronpedia_id", "model_from_pretrained_kwargs", "seqpos_slice",
    "l1_coefficient", "lp_norm", "l1_warm_up_steps", "use_ghost_grads", "normalize_sae_decoder", "noise_scale",
    "decoder_orthogonal_init", "decoder_heuristic_init", "decoder_heuristic_init_norm", "b_dec_init_method",
    "init_encoder_as_decoder_transpose", "mse_loss_normalization", "scale_sparsity_penalty_by_decoder_norm",
    "jumprelu_init_threshold", "jumprelu_bandwidth", "metadata",
}  # fmt: skip
RENAMED = {
    "hook_point": "hook_name",
    "hook_point_head_index": "hook_head_index",
    "activation_fn_str": "activation_fn",
}
# What versions 3 to 5 did where a key is not there (SAELens 6 reads them so).
LEGACY_DEFAULTS: dict[str, Any] = {
    "architecture": "standard",
    "activation_fn": "relu",
    "apply_b_dec_to_input": True,
    "normalize_activations": "none",
}


@dataclass
class Said:
    """What decides the SAE's arithmetic, and what it was made from."""

    architecture: str
    d_in: int
    d_sae: int
    d_out: int | None
    centred: bool
    normalised: str  # "none", or what was done to rows in training
    values: Mapping[str, Any]  # the rest
    metadata: Mapping[str, Any]
    defaults: list[str] = field(default_factory=list)  # what no key said


def understood(values: dict[str, Any], path: Path) -> Said:
    """Read cfg.json. Raises FormatError for a key that is missing or not known."""
    metadata = values.get("metadata")
    version = values.get("sae_lens_version") or (metadata.get("sae_lens_version") if isinstance(metadata, dict) else "")
    major = re.match(r"(\d+)\.", str(version))
    if major and int(major[1]) >= 6:
        return _version_6(values, str(path))
    return _legacy(values, str(path))


def _version_6(values: dict[str, Any], where: str) -> Said:
    closed(values, COMMON | TRAINING, where)
    architecture = needed(values, "architecture", str, where)
    centred = needed(values, "apply_b_dec_to_input", bool, where)
    if architecture in TRANSCODERS and centred:
        raise FormatError(
            f"{where}: apply_b_dec_to_input is true, but a {architecture}'s b_dec belongs to what it writes.\n"
            "  fix:   set it to false in a copy, if you know that it was off"
        )
    return Said(
        architecture,
        width(values, "d_in", where),
        width(values, "d_sae", where),
        width(values, "d_out", where) if architecture in TRANSCODERS else None,
        centred,
        needed(values, "normalize_activations", str, where),
        values,
        needed(values, "metadata", dict, where),
    )


def _legacy(values: dict[str, Any], where: str) -> Said:
    closed(values, LEGACY, where)
    values = {RENAMED.get(key, key): value for key, value in values.items()}
    defaults = [f"{key} not given: {value}" for key, value in LEGACY_DEFAULTS.items() if values.get(key) is None]
    values = LEGACY_DEFAULTS | {key: value for key, value in values.items() if value is not None}
    if isinstance(values["normalize_activations"], bool):
        values["normalize_activations"] = "expected_average_only_in" if values["normalize_activations"] else "none"
    architecture = needed(values, "architecture", str, where)
    activation = values["activation_fn"]
    if activation == "topk":
        architecture, kwargs = "topk", needed(values, "activation_fn_kwargs", dict, where)
        values |= {"k": width(kwargs, "k", f"{where}: activation_fn_kwargs"), "rescale_acts_by_decoder_norm": False}
    elif activation != "relu":
        raise FormatError(f"{where}: activation_fn = {activation!r}; saelab knows relu and topk.")
    metadata = {key: value for key, value in values.items() if key not in ("metadata", "architecture")}
    return Said(
        architecture,
        width(values, "d_in", where),
        width(values, "d_sae", where),
        None,
        needed(values, "apply_b_dec_to_input", bool, where),
        needed(values, "normalize_activations", str, where),
        values,
        metadata,
        ["layout of SAELens 3 to 5", *defaults],
    )
