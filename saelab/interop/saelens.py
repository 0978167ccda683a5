"""SAELens 3 to 6: a folder of cfg.json and sae_weights.safetensors; unfolded training checkpoints as well.

SAELens keeps BatchTopK and Matryoshka as jumprelu once they are trained; in a training checkpoint they are themselves.
A saelab checkpoint is such a folder already; exporting leaves out what only saelab reads.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saelab.atomic import write_json
from saelab.errors import FormatError
from saelab.interop.files import TensorFile, needed, number, open_safetensors, read_json, width
from saelab.interop.format import NOT_EXACT, Format, cannot
from saelab.interop.found import Found, fold_decoder_norms, fold_scale, fold_whitening, note_dtypes
from saelab.interop.saelens_config import COMMON, Said, understood
from saelab.sae import SAE
from saelab.sae.checkpoint import CONFIG, EXTRA, KNOWN, WEIGHTS

SCALER, WHITENING = "activation_scaler.json", "activation_whitening.safetensors"
# SAELens' kind -> the variant that computes the same, and what it has beside W_enc, W_dec and b_dec.
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "standard": ("relu", ("b_enc",)),
    "gated": ("gated", ("b_gate", "b_mag", "r_mag")),
    "topk": ("topk", ("b_enc",)),
    "jumprelu": ("jumprelu", ("b_enc", "threshold")),
    "batchtopk": ("batchtopk", ("b_enc", "topk_threshold")),
    "matryoshka_batchtopk": ("matryoshka", ("b_enc", "topk_threshold")),
    "matching_pursuit": ("mp", ()),
    "transcoder": ("relu", ("b_enc",)),
    "skip_transcoder": ("relu", ("b_enc", "W_skip")),
    "jumprelu_transcoder": ("jumprelu", ("b_enc", "threshold")),
    "jumprelu_skip_transcoder": ("jumprelu", ("b_enc", "threshold", "W_skip")),
}


def detect(path: Path) -> bool:
    return (path / CONFIG).is_file() and (path / WEIGHTS).is_file()


def read(path: Path) -> list[Found]:
    values = read_json(path / CONFIG)
    if isinstance(values.get("metadata"), dict) and "saelab" in values["metadata"]:
        raise FormatError(f"{path} is a saelab checkpoint already.\n  fix:   use it as it is")
    said = understood(values, path / CONFIG)
    if said.architecture not in KINDS:
        raise FormatError(
            f"{path} is a {said.architecture}, which no variant of saelab computes; "
            f"of SAELens it reads {', '.join(KINDS)}."
        )
    file = open_safetensors(path / WEIGHTS)
    tensors = file.read(_shapes(said, file), CONFIG)
    found = Found(_settings(said, path), _renamed(tensors, said), _metadata(said), [path / CONFIG, path / WEIGHTS])
    found.done += said.defaults
    found.at(said.metadata.get("hook_name"), said.metadata.get("hook_name_out"))
    note_dtypes(found, file.dtypes)
    _fold(found, said, path)
    return [found]


def _shapes(said: Said, file: TensorFile) -> dict[str, tuple[int, ...]]:
    """What the file must hold; a jumprelu has its threshold or, in old training checkpoints, its logarithm."""
    d, n = said.d_in, said.d_sae
    out = said.d_out or d
    encoder = {} if said.architecture == "matching_pursuit" else {"W_enc": (d, n)}
    shapes: dict[str, tuple[int, ...]] = {**encoder, "W_dec": (n, out), "b_dec": (out,)}
    for name in KINDS[said.architecture][1]:
        shapes[name] = {"W_skip": (out, d), "topk_threshold": ()}.get(name, (n,))
    if "log_threshold" in file.header and "threshold" in shapes:
        shapes["log_threshold"] = shapes.pop("threshold")
    if "scaling_factor" in file.header:  # versions 3 to 5 wrote ones
        shapes["scaling_factor"] = (n,)
    return shapes


def _renamed(tensors: dict[str, Tensor], said: Said) -> dict[str, Tensor]:
    if (ones := tensors.pop("scaling_factor", None)) is not None and not torch.allclose(ones, torch.ones_like(ones)):
        raise FormatError(
            "this SAE was fine-tuned with a scaling_factor that was never folded into its weights, "
            "and SAELens 6 does not read it either.\n  fix:   fold it with the SAELens that trained it"
        )
    if "log_threshold" in tensors:
        tensors["threshold"] = tensors.pop("log_threshold").exp()
    if "topk_threshold" in tensors:
        tensors["threshold"] = tensors.pop("topk_threshold")
    if "b_gate" in tensors:
        tensors["b_enc"] = tensors.pop("b_gate")
    if said.architecture == "matching_pursuit" and not said.centred:
        tensors["b_dec"] = torch.zeros_like(tensors["b_dec"])  # SAELens then does not add it either
    return tensors


def _settings(said: Said, path: Path) -> dict[str, Any]:
    where, values = str(path / CONFIG), said.values
    common: dict[str, Any] = {"variant": KINDS[said.architecture][0], "d_in": said.d_in, "d_sae": said.d_sae}
    if said.d_out is not None:
        common |= {"d_out": said.d_out, "transcoder": True, "skip": "skip" in said.architecture}
    if said.architecture == "matching_pursuit":
        steps = said.d_in if values.get("max_iterations") is None else width(values, "max_iterations", where)
        tau = number(values, "residual_threshold", where)
        repeat = needed(values, "stop_on_duplicate_support", bool, where)
        return common | {"k": steps, "tau": tau, "stop_at_repeat": repeat}
    common |= {"apply_b_dec_to_input": said.centred}
    if said.architecture == "topk":
        common |= {"k": width(values, "k", where)}
    if "batchtopk" in said.architecture:
        common |= {"k": max(1, round(number(values, "k", where)))}
    if said.architecture == "matryoshka_batchtopk":
        ends = [*needed(values, "matryoshka_widths", list, where)]
        ends += [said.d_sae] if ends[-1:] != [said.d_sae] else []
        common |= {"groups": [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]}
    return common


def _metadata(said: Said) -> dict[str, Any]:
    kept = {key: said.metadata[key] for key in KNOWN if said.metadata.get(key) is not None}
    training = {key: said.metadata[key] for key in said.metadata if key.startswith("training_architecture")}
    return {key: value for key, value in kept.items() if not key.startswith("hook_name")} | training


def _fold(found: Found, said: Said, path: Path) -> None:
    """Input scale, whitening and decoder lengths into the weights, in the order in which SAELens does it."""
    where = str(path / CONFIG)
    rescale = said.architecture in ("topk", "batchtopk", "matryoshka_batchtopk") and needed(
        said.values, "rescale_acts_by_decoder_norm", bool, where
    )
    if said.normalised == "expected_average_only_in":
        _fold_scale(found, _scale(path), said, rescale)
    if rescale:
        fold_decoder_norms(found)
    if said.normalised == "covariance_whitening":
        _fold_whitening(found, path)
    elif said.normalised not in ("none", "expected_average_only_in"):
        raise FormatError(
            f"{where}: normalize_activations = {said.normalised!r} divides every row by its own length, which no "
            "saelab checkpoint does: there is no exact import."
        )
    if said.architecture == "matching_pursuit":
        tau = torch.tensor(float(found.settings["tau"]))
        found.tensors |= {"tau": tau, "input_scale": torch.ones(()), "input_centre": torch.zeros(said.d_in)}


def _fold_scale(found: Found, s: float, said: Said, rescale: bool) -> None:
    if said.architecture == "matching_pursuit":  # its one dictionary stays
        found.tensors["b_dec"] = found.tensors["b_dec"] / s
        found.settings["tau"] = found.settings["tau"] / s
        found.done.append(f"input scale {s:.6g} moved into b_dec and residual_threshold")
        return
    fold_scale(found, s)
    if rescale and "threshold" in found.tensors:  # it is of activations times |W_dec|
        found.tensors["threshold"] = found.tensors["threshold"] / s


def _scale(path: Path) -> float:
    """The input scale of a training checkpoint, which stands in a file of its own."""
    if not (path / SCALER).is_file():
        raise FormatError(
            f"{path / CONFIG}: normalize_activations is 'expected_average_only_in', but {SCALER}, which holds the "
            "scale of the rows, is not there; without it every activation is wrong.\n"
            f'  fix:   copy it from the run, or write {{"scaling_factor": S}} there'
        )
    scale = number(read_json(path / SCALER), "scaling_factor", str(path / SCALER))
    if scale <= 0:
        raise FormatError(f"{path / SCALER}: scaling_factor = {scale} is no scale.")
    return scale


def _fold_whitening(found: Found, path: Path) -> None:
    d = int(found.settings["d_in"])
    file = open_safetensors(path / WHITENING)
    t = file.read({"mean": (d,), "matrix": (d, d), "inverse_matrix": (d, d)}, CONFIG)
    found.files = [*found.files, path / WHITENING]
    fold_whitening(found, t["mean"], t["matrix"], t["inverse_matrix"])


def write(saes: dict[str, SAE], folder: Path) -> list[str]:
    (sae,) = saes.values()
    if sae.architecture not in KINDS or sae.cfg.variant in NOT_EXACT:
        why = NOT_EXACT.get(sae.cfg.variant, "SAELens has no such kind, and it is no threshold for each feature")
        raise cannot(sae, "saelens", why)
    sae.save(folder)  # the weights and most of cfg.json are SAELens' own
    (folder / EXTRA).unlink()
    values = {key: value for key, value in read_json(folder / CONFIG).items() if key in COMMON}
    del values["metadata"]["saelab"]
    write_json(folder / CONFIG, values)
    return [f"{sae.cfg.variant} is written as {sae.architecture}", "left out: what only saelab reads"]


FORMAT = Format(f"{CONFIG} and {WEIGHTS}", detect, read, write)
