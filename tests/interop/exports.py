"""What every saelab variant is written as in every format: the table that is promised, and SAEs to try it on."""

import copy
from functools import cache
from pathlib import Path
from typing import Any

import torch
from planted_rows import BATCH, D, build, rows, train

from saelab.sae import REPLACEMENTS, SAE, VARIANTS, sae_config

FORMS: dict[str, dict[str, Any]] = {
    "": {},
    "uncentred": {"apply_b_dec_to_input": False},
    "transcoder": {"d_out": D},
    "skip transcoder": {"d_out": D, "skip": True},
}
TRANSCODERS = ("transcoder", "skip transcoder")
JUMPRELU = ("batchtopk", "jumprelu", "matryoshka", "tsae", "mutual_choice", "feature_choice", "ortsae")
OWN_THRESHOLDS = ("jumprelu", "tsae", "feature_choice")
TOPK = ("topk", "gsae", "hierarchical_topk")
RELU = ("relu", "msae")
# format -> (variant, form) -> what it is written as there; whoever is not named is refused.
WRITTEN: dict[str, dict[tuple[str, str], str]] = {
    "saelens": {
        **{(v, form): "standard" for v in RELU for form in ("", "uncentred")},
        **{(v, form): form.replace(" ", "_") for v in RELU for form in TRANSCODERS},
        **{(v, form): "topk" for v in TOPK for form in ("", "uncentred")},
        **{(v, form): "jumprelu" for v in JUMPRELU for form in ("", "uncentred")},
        **{(v, form): f"jumprelu_{form}".replace(" ", "_") for v in (*JUMPRELU, "gated") for form in TRANSCODERS},
        ("gated", ""): "gated",
        ("gated", "uncentred"): "gated",
        ("mp", ""): "matching_pursuit",
    },
    "sparsify": {
        **{(v, form): "topk" for v in TOPK for form in ("", "uncentred")},
        **{(v, form): form for v in TOPK for form in TRANSCODERS},
    },
    "dictionary_learning": {
        **{(v, ""): "AutoEncoder" for v in RELU},
        **{(v, "uncentred"): "AutoEncoderNew" for v in RELU},
        **{(v, form): "AutoEncoderTopK" for v in TOPK for form in ("", "uncentred")},
        **{(v, form): "JumpReluAutoEncoder" for v in OWN_THRESHOLDS for form in ("", "uncentred")},
        **{(v, form): "BatchTopKSAE" for v in ("batchtopk", "mutual_choice", "ortsae") for form in ("", "uncentred")},
        **{(v, form): v2 for v, v2 in (("matryoshka", "MatryoshkaBatchTopKSAE"), ("gated", "GatedAutoEncoder"))
           for form in ("", "uncentred")},
    },
    "circuit_tracer": {
        **{(v, form): f"ReLU {form}" for v in RELU for form in TRANSCODERS},
        **{(v, form): f"JumpReLU {form}" for v in (*JUMPRELU, "gated") for form in TRANSCODERS},
    },
}  # fmt: skip


def forms_of(variant: str) -> list[str]:
    """What it can be: a bilinear SAE has no b_dec to subtract and nothing to transcode."""
    return list(FORMS) if VARIANTS[variant].reproduces_rows else [""]


def trained(variant: str, form: str) -> SAE:
    """An SAE that has seen a few batches, so that its threshold is measured and nothing is where it began."""
    return copy.deepcopy(_trained(variant, form))


@cache
def _trained(variant: str, form: str) -> SAE:
    whole = {"inference_k": None} if variant == "msae" else {}
    sae, x = build(variant, **FORMS[form], **whole), rows(3 * BATCH)
    train(sae, steps=3, x=x, y=x.flip(1) if form in TRANSCODERS else None)
    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            if name in ("b_enc", "b_dec", "b_mag", "r_mag", "W_skip"):
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4)))
    ends = ("mlp.hook_in", "hook_mlp_out") if form in TRANSCODERS else ("hook_resid_post", "hook_resid_post")
    sae.metadata = {"model_name": "pico", "hook_name": f"blocks.0.{ends[0]}", "hook_name_out": f"blocks.0.{ends[1]}"}
    return sae.eval()


def replacement(variant: str) -> SAE:
    """A replacement as it is initialised, thresholds low enough to fire."""
    settings: dict[str, dict[str, Any]] = {
        "clt": {"d_in": 10, "d_out": 10, "d_sae": 24, "layers": 2, "activation": "jumprelu", "initial_threshold": 0.1},
        "lorsa": {"d_in": 8, "d_sae": 16, "k": 4},
    }
    cfg = sae_config({"variant": variant, **settings[variant]})
    return REPLACEMENTS[variant](cfg, torch.Generator().manual_seed(0)).eval()


def saved(sae: SAE, folder: Path) -> Path:
    sae.save(folder)
    return folder
