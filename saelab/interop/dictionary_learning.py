"""dictionary_learning 0.1: a folder of ae.pt and config.json.

    dict_class                keys beyond W_enc, W_dec                        b_dec taken off the input
    AutoEncoder               encoder.bias, bias                              yes
    AutoEncoderNew            encoder.bias, decoder.bias                      no
    GatedAutoEncoder          gate_bias, mag_bias, r_mag, decoder_bias        yes
    JumpReluAutoEncoder       b_enc, b_dec, threshold                         no
    AutoEncoderTopK           encoder.bias, b_dec, k, threshold               yes
    BatchTopKSAE              encoder.bias, b_dec, k, threshold               yes, and its codes are threshold's
    MatryoshkaBatchTopKSAE    b_enc, b_dec, k, threshold, group_sizes         yes, likewise

Its trainers call an AutoEncoderNew an AutoEncoder: which one it is is seen by its keys. TopK and BatchTopK have the
same keys and other codes, so there config.json decides. Biases of rows normalised in training are scaled back when it
saves, so nothing is left to fold.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saelab.atomic import write_json
from saelab.contracts import canonical_site
from saelab.errors import FormatError, SiteError
from saelab.interop.files import TensorFile, needed, open_pt, read_json, width
from saelab.interop.format import NOT_EXACT, Format, cannot, save_pt
from saelab.interop.found import Found, note_dtypes, with_centre, without_centre
from saelab.sae import SAE
from saelab.sae.variants.batchtopk import BatchTopK
from saelab.sae.variants.matryoshka import Matryoshka

CONFIG, WEIGHTS = "config.json", "ae.pt"
LINEAR = {"encoder.weight": "n d", "encoder.bias": "n", "decoder.weight": "d n"}
PLAIN = {"W_enc": "d n", "b_enc": "n", "W_dec": "n d", "b_dec": "d"}
SELECTS = {"k": "", "threshold": ""}
# dict_class -> the variant, whether b_dec is taken off the input, and the axes of every tensor.
CLASSES: dict[str, tuple[str, bool, dict[str, str]]] = {
    "AutoEncoder": ("relu", True, LINEAR | {"bias": "d"}),
    "AutoEncoderNew": ("relu", False, LINEAR | {"decoder.bias": "d"}),
    "GatedAutoEncoder": ("gated", True, {"encoder.weight": "n d", "decoder.weight": "d n", "gate_bias": "n",
                                         "mag_bias": "n", "r_mag": "n", "decoder_bias": "d"}),
    "JumpReluAutoEncoder": ("jumprelu", False, PLAIN | {"threshold": "n"}),
    "AutoEncoderTopK": ("topk", True, LINEAR | {"b_dec": "d"} | SELECTS),
    "BatchTopKSAE": ("batchtopk", True, LINEAR | {"b_dec": "d"} | SELECTS),
    "MatryoshkaBatchTopKSAE": ("matryoshka", True, PLAIN | SELECTS | {"group_sizes": "g"}),
}  # fmt: skip
NAMES = {
    "encoder.weight": "W_enc", "encoder.bias": "b_enc", "decoder.weight": "W_dec", "bias": "b_dec",
    "decoder.bias": "b_dec", "decoder_bias": "b_dec", "gate_bias": "b_enc", "mag_bias": "b_mag",
}  # fmt: skip


def _folder(path: Path) -> Path:
    return path.parent if path.name == WEIGHTS else path


def detect(path: Path) -> bool:
    return (_folder(path) / WEIGHTS).is_file()


def read(path: Path) -> list[Found]:
    path = _folder(path)
    where = str(path / CONFIG)
    trainer = needed(read_json(path / CONFIG), "trainer", dict, where)
    file = open_pt(path / WEIGHTS)
    name = _class_of(needed(trainer, "dict_class", str, where), file, where)
    variant, centred, axes = CLASSES[name]
    d, n = width(trainer, "activation_dim", where), width(trainer, "dict_size", where)
    groups = file.header.get("group_sizes", ("", (0,)))[1][:1]
    sizes = {"d": d, "n": n, "g": groups[0] if groups else 0}
    raw = file.read(
        {key: tuple(sizes[axis] for axis in text.split()) for key, text in axes.items()}, f"{CONFIG} ({name})"
    )
    tensors = {NAMES.get(key, key): t.t() if key.endswith(".weight") else t for key, t in raw.items()}
    settings = {"variant": variant, "d_in": d, "d_sae": n, "apply_b_dec_to_input": centred}
    found = Found(settings, tensors, _metadata(trainer), [path / CONFIG, path / WEIGHTS])
    found.done.append(f"{name}: b_dec {'is' if centred else 'is not'} taken off the input")
    if any(key.endswith(".weight") for key in axes):
        found.done.append("encoder.weight and decoder.weight turned to W_enc [d_in, d_sae] and W_dec [d_sae, d_in]")
    if "k" in axes:
        _selection(found, trainer, where)
    note_dtypes(found, file.dtypes)
    _place(found, trainer)
    return [found]


def _class_of(said: str, file: TensorFile, where: str) -> str:
    """The class by its name, but AutoEncoder and AutoEncoderNew by their keys."""
    if said in ("AutoEncoder", "AutoEncoderNew"):
        return "AutoEncoderNew" if "decoder.bias" in file.header else "AutoEncoder"
    if said not in CLASSES:
        raise FormatError(f"{where}: dict_class = {said!r}; saelab reads {', '.join(CLASSES)}.")
    return said


def _selection(found: Found, trainer: dict[str, Any], where: str) -> None:
    """k, the threshold where it decides, and the groups."""
    k, threshold = int(found.tensors.pop("k")), found.tensors.pop("threshold")
    if "k" in trainer and width(trainer, "k", where) != k:
        raise FormatError(f"{where}: k = {trainer['k']}, but {WEIGHTS} holds k = {k}.")
    found.settings["k"] = k
    if found.settings["variant"] == "topk":
        found.done.append(f"k = {k} of each row; the threshold kept beside it is not used")
        return
    if threshold < 0:
        raise FormatError(
            f"{WEIGHTS} beside {where}: threshold = {threshold.item():g}, that is, it was never measured, and without "
            "one a code depends on the other rows of its batch.\n"
            "  fix:   train it past threshold_start_step, or set the tensor to a threshold of your own"
        )
    found.tensors["threshold"] = threshold
    if "group_sizes" in found.tensors:
        found.settings["groups"] = found.tensors.pop("group_sizes").tolist()


def _metadata(trainer: dict[str, Any]) -> dict[str, Any]:
    model = trainer.get("lm_name")
    return {"model_name": model} if isinstance(model, str) and model else {}


def _place(found: Found, trainer: dict[str, Any]) -> None:
    """The site, where submodule_name is one or is what its own demo calls a residual stream; else it is free text."""
    layer, module = trainer.get("layer"), trainer.get("submodule_name")
    if isinstance(layer, int) and module == f"resid_post_layer_{layer}":
        module = f"blocks.{layer}.hook_resid_post"
    try:
        found.at(canonical_site(str(module)))
    except SiteError:
        found.done.append(f"layer {layer}, submodule_name {module!r}: which site that is, is not said")


def write(saes: dict[str, SAE], folder: Path) -> list[str]:
    (sae,) = saes.values()
    if sae.cfg.transcoder:
        raise cannot(sae, "dictionary_learning", "its classes read and write one site")
    name = _class_for(sae)
    _, centred, axes = CLASSES[name]
    t, done = _named(sae), [f"{sae.cfg.variant} is written as {name}"]
    if centred != sae.cfg.apply_b_dec_to_input:
        t = with_centre(t) if centred else without_centre(t)
        verb = "takes off the input, added to" if centred else "does not take off the input, moved into"
        done.append(f"b_dec, which {name} {verb} its encoder's bias")
    if not torch.allclose(t["W_dec"].norm(dim=1), torch.ones(()), atol=1e-3) and name == "AutoEncoder":
        done.append(
            "rows of W_dec have other lengths than 1: its loader needs normalize_decoder=False to keep the codes"
        )
    save_pt(folder / WEIGHTS, {key: _spelt(t, key, text) for key, text in axes.items()})
    _write_config(sae, name, t, folder)
    return done


def _class_for(sae: SAE) -> str:
    """The class that computes the same codes."""
    kind, centred = sae.architecture, sae.cfg.apply_b_dec_to_input
    names = {"standard": "AutoEncoder" if centred else "AutoEncoderNew", "gated": "GatedAutoEncoder",
             "topk": "AutoEncoderTopK", "jumprelu": "JumpReluAutoEncoder"}  # fmt: skip
    if sae.cfg.variant in NOT_EXACT or kind not in names:
        why = NOT_EXACT.get(sae.cfg.variant, f"of its classes ({', '.join(CLASSES)}) none computes the same")
        raise cannot(sae, "dictionary_learning", why)
    if isinstance(sae, BatchTopK) and len(sae.exported()["threshold"].unique()) == 1:
        return "MatryoshkaBatchTopKSAE" if isinstance(sae, Matryoshka) else "BatchTopKSAE"
    return names[kind]


def _named(sae: SAE) -> dict[str, Tensor]:
    """Its tensors by saelab's names; one threshold, k and groups where it has them."""
    t = dict(sae.exported())
    if "b_gate" in t:
        t["b_enc"] = t.pop("b_gate")
    k = getattr(sae.cfg, "inference_k", None) or getattr(sae.cfg, "k", None)
    if k is not None:
        t["k"] = torch.tensor(k, dtype=torch.int32)
    if (widths := getattr(sae.cfg, "widths", None)) is not None:
        t["group_sizes"] = torch.tensor([0, *widths]).diff()
    return t


def _spelt(t: dict[str, Tensor], key: str, axes: str) -> Tensor:
    """The tensor that this library calls `key`."""
    if key == "threshold" and not axes:
        return t["threshold"][0] if "threshold" in t else torch.tensor(-1.0)  # TopK: never measured
    tensor = t[NAMES.get(key, key)]
    return tensor.t() if key.endswith(".weight") else tensor


def _write_config(sae: SAE, name: str, t: dict[str, Tensor], folder: Path) -> None:
    trainer: dict[str, Any] = {
        "trainer_class": None,
        "dict_class": name,
        "activation_dim": sae.cfg.d_in,
        "dict_size": sae.cfg.d_sae,
        "lm_name": sae.metadata.get("model_name"),
        "submodule_name": sae.metadata.get("hook_name"),
        "layer": _layer(sae.metadata.get("hook_name")),
        **({"k": int(t["k"])} if "k" in CLASSES[name][2] else {}),
    }
    write_json(folder / CONFIG, {"trainer": trainer, "buffer": {}})


def _layer(site: object) -> int | None:
    parts = str(site).split(".")
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else None


FORMAT = Format(f"{WEIGHTS} and {CONFIG}", detect, read, write)
