"""llamascopium 2 (before: Language-Model-SAEs): config.json and sae_weights.safetensors, W_E [d, F], W_D [F, d].

    f = activation(x W_E + b_E),   x_hat = f W_D + b_D                       b_D is not taken off the input

Read where rows are not scaled (`norm_activation: inference`, how it stores a folded SAE) and decoder lengths, with
`sparsity_include_decoder_norm`, are 1.
"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.errors import FormatError
from saelab.interop.files import needed, number, open_safetensors, read_json, width
from saelab.interop.format import Format
from saelab.interop.found import Found, note_dtypes

CONFIG, WEIGHTS = "config.json", "sae_weights.safetensors"
NORMS = "dataset_average_activation_norm."  # lengths of rows in training, of no use once they are folded
LOG_THRESHOLD = "activation_function.log_jumprelu_threshold"
UNIT = 1e-5  # from 1: fp32 rows that were divided by their lengths
VARIANTS = {"relu": "relu", "topk": "topk", "jumprelu": "jumprelu"}


def detect(path: Path) -> bool:
    return (path / CONFIG).is_file() and (path / WEIGHTS).is_file()


def read(path: Path) -> list[Found]:
    values, where = read_json(path / CONFIG), str(path / CONFIG)
    variant = _variant(values, where)
    d = width(values, "d_model", where)
    n = round(d * number(values, "expansion_factor", where))
    file = open_safetensors(path / WEIGHTS)
    shapes: dict[str, tuple[int, ...]] = {"W_E": (d, n), "b_E": (n,), "W_D": (n, d), "b_D": (d,)}
    shapes |= {name: shape for name, (_, shape) in file.header.items() if name.startswith(NORMS)}
    raw = file.read(shapes | ({LOG_THRESHOLD: (n,)} if variant == "jumprelu" else {}), CONFIG)
    tensors = {"W_enc": raw["W_E"], "b_enc": raw["b_E"], "W_dec": raw["W_D"], "b_dec": raw["b_D"]}
    if needed(values, "sparsity_include_decoder_norm", bool, where) and variant != "relu":
        _require_unit_rows(raw["W_D"], where)
    if variant == "jumprelu":
        tensors["threshold"] = raw[LOG_THRESHOLD].exp()
    hooks = [needed(values, f"hook_point_{end}", str, where) for end in ("in", "out")]
    settings: dict[str, Any] = {"variant": variant, "d_in": d, "d_sae": n, "apply_b_dec_to_input": False}
    settings |= {"k": width(values, "top_k", where)} if variant == "topk" else {}
    settings |= {"d_out": d, "transcoder": True} if hooks[0] != hooks[1] else {}
    found = Found(settings, tensors, {}, [path / CONFIG, path / WEIGHTS])
    found.done.append("b_D is not taken off the input")
    found.at(*hooks)
    note_dtypes(found, file.dtypes)
    return [found]


def _variant(values: dict[str, Any], where: str) -> str:
    """What it is, once everything that would change its arithmetic is excluded."""
    kind, act = needed(values, "sae_type", str, where), needed(values, "act_fn", str, where)
    if kind != "sae" or act not in VARIANTS:
        raise FormatError(
            f"{where}: sae_type = {kind!r} with act_fn = {act!r}; of llamascopium saelab reads sae with "
            f"{', '.join(VARIANTS)}."
        )
    if (norm := needed(values, "norm_activation", str, where)) != "inference":
        raise FormatError(
            f"{where}: norm_activation = {norm!r} scales rows by lengths measured in training.\n"
            "  fix:   fold them with llamascopium, which then says 'inference'"
        )
    return VARIANTS[act]


def _require_unit_rows(W_dec: Float[Tensor, "d_sae d_out"], where: str) -> None:
    """Where decoder lengths take part in the selection they must be 1, so that they do not."""
    if not torch.allclose(W_dec.norm(dim=1), torch.ones(()), rtol=0, atol=UNIT):
        raise FormatError(
            f"{where}: sparsity_include_decoder_norm is on and W_D's rows are not of length 1, so that their lengths "
            "decide what is active.\n  fix:   have llamascopium fold them into the encoder"
        )


FORMAT = Format(f"{CONFIG} and {WEIGHTS}", detect, read)
