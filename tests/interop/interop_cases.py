"""One case per kind of SAE that can be imported: how its files are written, and what such an SAE computes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from foreign_files import (
    METADATA,
    D,
    K,
    N,
    circuit_tracer,
    dictionary_learning,
    gemma_scope,
    gemma_scope_2,
    json_to,
    linear,
    llamascopium,
    openai,
    parts,
    pre,
    saelens,
    sparsify,
    tensors_to,
    top,
)
from torch import Tensor

Computed = tuple[Tensor, Tensor]  # codes, reproductions


@dataclass(frozen=True)
class Case:
    format: str
    kind: str
    write: Callable[[Path], Path]
    compute: Callable[[Tensor], Computed]


def pick(t: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    return {name: t[name] for name in names}


PLAIN = ("W_enc", "b_enc", "W_dec", "b_dec")
T = parts()
WIDE = parts(out=5)
BELOW = T | {"threshold": T["threshold"] - 1}  # some of them negative, which ReLU makes 0
R = 0.2 * torch.linspace(-1, 1, N)
GATED = T | {"b_gate": T["b_enc"], "b_mag": T["threshold"] - 0.5, "r_mag": R}


def out(t: dict[str, Tensor], f: Tensor, x: Tensor | None = None) -> Computed:
    return f, f @ t["W_dec"] + t["b_dec"] + (0 if x is None else x @ t["W_skip"].t())


def above(values: Tensor, threshold: Tensor) -> Tensor:
    return values.relu() * (values > threshold)


def relu(x: Tensor, t: dict[str, Tensor] = T, centred: bool = True, skip: bool = False) -> Computed:
    return out(t, pre(t, x, centred).relu(), x if skip else None)


def jumprelu(x: Tensor, t: dict[str, Tensor] = T, centred: bool = False, skip: bool = False) -> Computed:
    return out(t, above(pre(t, x, centred), t["threshold"]), x if skip else None)


def topk(x: Tensor, t: dict[str, Tensor] = T, centred: bool = True, skip: bool = False) -> Computed:
    return out(t, top(pre(t, x, centred)), x if skip else None)


def gated(x: Tensor, t: dict[str, Tensor] = GATED) -> Computed:
    u = (x - t["b_dec"]) @ t["W_enc"]
    return out(t, (u + t["b_gate"] > 0) * (t["r_mag"].exp() * u + t["b_mag"]).relu())


def rescaled(x: Tensor, s: float = 1.0, k: int | None = K, threshold: float = 0.0) -> Computed:
    """Rows times s, activations times the length of their decoder rows; k of them, or those above the threshold."""
    length = T["W_dec"].norm(dim=1)
    values = pre(T, s * x, True) * length
    f = top(values) if k else above(values, torch.tensor(threshold))
    return f, (f / length @ T["W_dec"] + T["b_dec"]) / s


def whitened(x: Tensor) -> Computed:
    z = (x - MEAN) @ M
    f, z_hat = relu(z, centred=False)
    return f, z_hat @ INVERSE + MEAN


MEAN = torch.linspace(-1, 1, D)
M = torch.eye(D) + 0.2 * parts()["W_skip"]
INVERSE = torch.linalg.inv(M.double()).float()


def scaled_folder(folder: Path, tensors: dict[str, Tensor], **changes: object) -> Path:
    """A training checkpoint with the input scale beside it."""
    saelens(folder, tensors, normalize_activations="expected_average_only_in", l1_coefficient=1.0, **changes)
    json_to(folder / "activation_scaler.json", {"scaling_factor": 0.5, "has_whitening": False})
    return folder


def whitened_folder(folder: Path) -> Path:
    changes = {"apply_b_dec_to_input": False, "normalize_activations": "covariance_whitening"}
    saelens(folder, pick(T, *PLAIN), **changes)
    tensors_to(folder / "activation_whitening.safetensors", {"mean": MEAN, "matrix": M, "inverse_matrix": INVERSE})
    return folder


def legacy(folder: Path, tensors: dict[str, Tensor], **changes: object) -> Path:
    """cfg.json as SAELens 3 to 5 wrote it: flat, and without what had a default."""
    saelens(folder, tensors)
    values = {
        "d_in": D,
        "d_sae": N,
        "dtype": "torch.float32",
        "model_name": "pico",
        "hook_point": METADATA["hook_name"],
    }
    json_to(folder / "cfg.json", values | changes)
    return folder


def _sae_lens() -> dict[str, tuple[Callable[[Path], Path], Callable[[Tensor], Computed]]]:
    skip = (*PLAIN, "W_skip")
    coder = {"apply_b_dec_to_input": False, "d_out": 5}
    select = {"k": K, "rescale_acts_by_decoder_norm": True}
    batch = pick(T, *PLAIN) | {"topk_threshold": torch.tensor(0.4, dtype=torch.float64)}
    old = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}}
    gate = ("W_enc", "W_dec", "b_dec", "b_gate", "b_mag", "r_mag")
    threshold = pick(T, *PLAIN, "threshold")
    log = pick(T, *PLAIN) | {"log_threshold": T["threshold"].log()}

    def of(kind: str, tensors: dict[str, Tensor], **changes: object) -> Callable[[Path], Path]:
        return lambda folder: saelens(folder, tensors, architecture=kind, **changes)

    return {
        "standard": (of("standard", pick(T, *PLAIN)), relu),
        "gated": (of("gated", pick(GATED, *gate)), gated),
        "topk": (of("topk", pick(T, *PLAIN), k=K, rescale_acts_by_decoder_norm=False), topk),
        "topk, rescaled": (of("topk", pick(T, *PLAIN), **select), rescaled),
        "jumprelu": (of("jumprelu", threshold), lambda x: jumprelu(x, centred=True)),
        "jumprelu, negative thresholds": (
            of("jumprelu", pick(BELOW, *PLAIN, "threshold"), apply_b_dec_to_input=False), lambda x: jumprelu(x, BELOW)
        ),
        "jumprelu, log thresholds": (of("jumprelu", log), lambda x: jumprelu(x, centred=True)),
        "transcoder": (of("transcoder", pick(WIDE, *PLAIN), **coder), lambda x: relu(x, WIDE, centred=False)),
        "skip_transcoder": (of("skip_transcoder", pick(WIDE, *skip), **coder), lambda x: relu(x, WIDE, False, True)),
        "jumprelu_transcoder": (
            of("jumprelu_transcoder", pick(WIDE, *PLAIN, "threshold"), **coder), lambda x: jumprelu(x, WIDE)
        ),
        "jumprelu_skip_transcoder": (
            of("jumprelu_skip_transcoder", pick(WIDE, *skip, "threshold"), **coder),
            lambda x: jumprelu(x, WIDE, skip=True),
        ),
        "checkpoint of standard": (
            lambda folder: scaled_folder(folder, pick(T, *PLAIN)),
            lambda x: (relu(0.5 * x)[0], relu(0.5 * x)[1] / 0.5),
        ),
        "checkpoint of topk": (
            lambda folder: scaled_folder(folder, pick(T, *PLAIN), architecture="topk", **select),
            # activations are of rows as long as x, since W_dec's rows are divided by the scale as well
            lambda x: (rescaled(x, 0.5)[0] / 0.5, rescaled(x, 0.5)[1]),
        ),
        "checkpoint of batchtopk": (
            lambda folder: scaled_folder(folder, batch, architecture="batchtopk", **select),
            lambda x: (rescaled(x, 0.5, None, 0.4)[0] / 0.5, rescaled(x, 0.5, None, 0.4)[1]),
        ),
        "checkpoint of matryoshka_batchtopk": (
            of("matryoshka_batchtopk", batch, matryoshka_widths=[4, 9], **select), lambda x: rescaled(x, 1, None, 0.4)
        ),
        "whitened standard": (whitened_folder, whitened),
        "legacy standard": (lambda folder: legacy(folder, pick(T, *PLAIN)), relu),
        "legacy topk": (lambda folder: legacy(folder, pick(T, *PLAIN), **old), topk),
    }  # fmt: skip


def _others() -> dict[tuple[str, str], tuple[Callable[[Path], Path], Callable[[Tensor], Computed]]]:
    topk_keys = linear(T) | {"b_dec": T["b_dec"], "k": torch.tensor(K, dtype=torch.int32)}
    shared = T | {"threshold": torch.tensor(0.4)}
    batch_keys = topk_keys | {"threshold": torch.tensor(0.4)}
    matryoshka = pick(T, *PLAIN) | {"k": torch.tensor(K), "threshold": torch.tensor(0.4)}
    gate = {"encoder.weight": T["W_enc"].t(), "decoder.weight": T["W_dec"].t(), "gate_bias": GATED["b_gate"],
            "mag_bias": GATED["b_mag"], "r_mag": R, "decoder_bias": T["b_dec"]}  # fmt: skip

    def ae(kind: str, tensors: dict[str, Tensor], **changes: object) -> Callable[[Path], Path]:
        return lambda folder: dictionary_learning(folder, tensors, kind, **changes)

    dl, square = "dictionary_learning", parts()
    return {
        ("sparsify", "topk"): (lambda folder: sparsify(folder, T), topk),
        ("sparsify", "topk, width by factor"): (
            lambda folder: sparsify(folder, parts(n=2 * D), num_latents=0), lambda x: topk(x, parts(n=2 * D))
        ),
        ("sparsify", "transcoder"): (
            lambda folder: sparsify(folder, T, transcode=True), lambda x: topk(x, centred=False)
        ),
        ("sparsify", "skip transcoder"): (
            lambda folder: sparsify(folder, T, transcode=True, skip_connection=True),
            lambda x: topk(x, centred=False, skip=True),
        ),
        ("sparsify", "topk with skip"): (
            lambda folder: sparsify(folder, T, skip_connection=True), lambda x: topk(x, skip=True)
        ),
        (dl, "AutoEncoder"): (ae("AutoEncoder", linear(T) | {"bias": T["b_dec"]}), relu),
        (dl, "AutoEncoderNew"): (
            ae("AutoEncoder", linear(T) | {"decoder.bias": T["b_dec"]}), lambda x: relu(x, centred=False)
        ),
        (dl, "GatedAutoEncoder"): (ae("GatedAutoEncoder", gate), gated),
        (dl, "JumpReluAutoEncoder"): (ae("JumpReluAutoEncoder", pick(T, *PLAIN, "threshold")), jumprelu),
        (dl, "AutoEncoderTopK"): (
            ae("AutoEncoderTopK", topk_keys | {"threshold": torch.tensor(-1.0)}, k=K), topk
        ),
        (dl, "BatchTopKSAE"): (ae("BatchTopKSAE", batch_keys, k=K), lambda x: jumprelu(x, shared, centred=True)),
        (dl, "MatryoshkaBatchTopKSAE"): (
            ae("MatryoshkaBatchTopKSAE", matryoshka | {"group_sizes": torch.tensor([4, N - 4])}, k=K),
            lambda x: jumprelu(x, shared, centred=True),
        ),
        ("gemma_scope", "jumprelu"): (lambda folder: gemma_scope(folder, T), jumprelu),
        ("gemma_scope", "transcoder"): (lambda folder: gemma_scope(folder, WIDE), lambda x: jumprelu(x, WIDE)),
        ("gemma_scope_2", "transcoder"): (
            lambda folder: gemma_scope_2(folder, WIDE, False), lambda x: jumprelu(x, WIDE)
        ),
        ("gemma_scope_2", "skip transcoder"): (
            lambda folder: gemma_scope_2(folder, WIDE, True), lambda x: jumprelu(x, WIDE, skip=True)
        ),
        ("llamascopium", "relu"): (
            lambda folder: llamascopium(folder, T, "relu", sparsity_include_decoder_norm=True),
            lambda x: relu(x, centred=False),
        ),
        ("llamascopium", "topk"): (lambda folder: llamascopium(folder, T, "topk"), lambda x: topk(x, centred=False)),
        ("llamascopium", "jumprelu"): (lambda folder: llamascopium(folder, T, "jumprelu"), jumprelu),
        ("openai", "ReLU"): (lambda folder: openai(folder, T), relu),
        ("circuit_tracer", "ReLU transcoder"): (
            lambda folder: circuit_tracer(folder, [square], ()), lambda x: relu(x, centred=False)
        ),
        ("circuit_tracer", "threshold and skip"): (
            lambda folder: circuit_tracer(folder, [square], ("threshold", "W_skip")), lambda x: jumprelu(x, skip=True)
        ),
    }  # fmt: skip


CASES = [Case("saelens", kind, *case) for kind, case in _sae_lens().items()]
CASES += [Case(format, kind, *case) for (format, kind), case in _others().items()]
