"""Run by the Python of an environment that holds the peers: SAEs written by their own code, and what they compute.

    python write_with_peers.py FOLDER

FOLDER/<library>/<kind>-<seed>/ gets a checkpoint, and <kind>-<seed>.safetensors beside it rows x, codes f and
reproductions x_hat. All sizes are odd, and no parameter is at its initial value.
"""

import dataclasses
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

ROWS, SEEDS = 50, (0, 1, 2)
WIDTHS = [(31, 97), (17, 130), (9, 33)]  # d_in, d_sae by seed


def moved(module: nn.Module) -> nn.Module:
    """The module with random numbers added to everything that is trained."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            spread = 0.05 if parameter.dim() == 2 else 0.3
            parameter.add_(spread * torch.randn(parameter.shape))
            if "threshold" in name and "log" not in name:
                parameter.copy_(0.1 + parameter.abs())
    return module


def keep(place: Path, x: Tensor, f: Tensor, x_hat: Tensor) -> None:
    tensors = {"x": x, "f": f.detach(), "x_hat": x_hat.detach()}
    save_file({name: t.contiguous() for name, t in tensors.items()}, place.with_name(place.name + ".safetensors"))


def sae_lens(folder: Path) -> None:
    from sae_lens.registry import SAE_CLASS_REGISTRY, SAE_TRAINING_CLASS_REGISTRY

    metadata = {"model_name": "pico", "hook_name": "blocks.1.hook_resid_post"}
    for kind in ("standard", "gated", "topk", "jumprelu", "matching_pursuit", "transcoder", "skip_transcoder",
                 "jumprelu_transcoder", "jumprelu_skip_transcoder"):  # fmt: skip
        for seed in SEEDS:
            sae = _sae_lens(*SAE_CLASS_REGISTRY[kind], kind, seed)
            for key, value in metadata.items():
                sae.cfg.metadata[key] = value
            _save_sae_lens(sae, folder / f"{kind}-{seed}")
    for kind in ("standard", "gated", "topk", "jumprelu", "batchtopk", "matryoshka_batchtopk", "matching_pursuit"):
        for seed in SEEDS:
            sae = _sae_lens(*SAE_TRAINING_CLASS_REGISTRY[kind], kind, seed)
            _save_trained(sae, folder, kind, seed)
    for kind in ("standard", "gated", "topk", "jumprelu"):
        for seed in SEEDS:
            _save_whitened(_sae_lens(*SAE_TRAINING_CLASS_REGISTRY[kind], kind, seed), folder, kind, seed)
            _save_legacy(_sae_lens(*SAE_CLASS_REGISTRY[kind], kind, seed), folder / f"legacy-{kind}-{seed}", kind)


def _sae_lens(cls, config, kind: str, seed: int):
    torch.manual_seed(seed)
    d, n = WIDTHS[seed]
    names = {field.name for field in dataclasses.fields(config)}
    asked = {
        "d_in": d, "d_sae": n, "k": 4, "d_out": d + 2, "max_iterations": 5, "residual_threshold": 0.3,
        "stop_on_duplicate_support": seed == 1, "rescale_acts_by_decoder_norm": seed != 1,
        "apply_b_dec_to_input": "transcoder" not in kind and (seed != 2 or kind == "matching_pursuit"),
        "matryoshka_widths": [n // 4, n // 2, n], "decoder_init_norm": 1.0 if kind == "matching_pursuit" else 0.3,
    }  # fmt: skip
    sae = moved(cls(config(**{key: value for key, value in asked.items() if key in names})))
    if kind == "matching_pursuit":
        sae.W_dec.data /= sae.W_dec.data.norm(dim=1, keepdim=True)
    if hasattr(sae, "topk_threshold"):
        sae.topk_threshold.fill_(0.05)
    return sae


def _save_sae_lens(sae, place: Path) -> None:
    from sae_lens import SAE

    sae.save_model(place)
    _keep_sae_lens(SAE.load_from_disk(place), place)


def _keep_sae_lens(sae, place: Path) -> None:
    x = torch.randn(ROWS, sae.cfg.d_in)
    with torch.no_grad():
        keep(place, x, sae.encode(x), sae(x))


def _save_trained(sae, folder: Path, kind: str, seed: int) -> None:
    """The unfolded checkpoint with its input scale, as a run leaves it; what it computes is the folded one's."""
    from sae_lens import SAE

    scale = 0.37
    place = folder / f"checkpoint-{kind}-{seed}"
    sae.cfg.normalize_activations = "expected_average_only_in"
    sae.save_model(place)
    (place / "activation_scaler.json").write_text(json.dumps({"scaling_factor": scale, "has_whitening": False}))
    sae.fold_activation_norm_scaling_factor(scale)
    final = folder / f"final-{kind}-{seed}"
    sae.save_inference_model(final)
    inference = SAE.load_from_disk(final)
    _keep_sae_lens(inference, final)
    _keep_sae_lens(inference, place)


def _save_whitened(sae, folder: Path, kind: str, seed: int) -> None:
    """The unfolded checkpoint of a run on whitened rows; what it computes is the folded one's."""
    from sae_lens import SAE

    d, place = sae.cfg.d_in, folder / f"whitened-{kind}-{seed}"
    M = torch.eye(d) + 0.1 * torch.randn(d, d)
    whitening = {"mean": torch.randn(d), "matrix": M, "inverse_matrix": _inverse(M)}
    sae.cfg.normalize_activations = "covariance_whitening"
    sae.save_model(place)
    save_file(whitening, place / "activation_whitening.safetensors")
    (place / "activation_scaler.json").write_text(json.dumps({"scaling_factor": None, "has_whitening": True}))
    sae.fold_activation_whitening(*whitening.values())
    sae.save_inference_model(folder.parent / "whitened" / place.name)
    _keep_sae_lens(SAE.load_from_disk(folder.parent / "whitened" / place.name), place)


def _inverse(M: Tensor) -> Tensor:
    return torch.linalg.inv(M.double()).float().contiguous()


def _save_legacy(sae, place: Path, kind: str) -> None:
    """The same weights under a cfg.json as versions 3 to 5 wrote it, as version 6 reads that."""
    if kind == "topk":
        sae.cfg.rescale_acts_by_decoder_norm = False
    sae.save_model(place)
    values = {"architecture": kind, "activation_fn_str": "relu", "activation_fn_kwargs": {}}
    if kind == "topk":
        values = {"architecture": "standard", "activation_fn_str": "topk", "activation_fn_kwargs": {"k": sae.cfg.k}}
    values |= {
        "d_in": sae.cfg.d_in, "d_sae": sae.cfg.d_sae, "dtype": "torch.float32", "device": "cpu",
        "apply_b_dec_to_input": sae.cfg.apply_b_dec_to_input, "normalize_activations": "none",
        "finetuning_scaling_factor": False, "model_name": "pico", "hook_name": "blocks.1.hook_resid_post",
        "hook_layer": 1, "hook_head_index": None, "context_size": 32, "prepend_bos": True, "dataset_path": "",
        "sae_lens_training_version": "5.0.0",
    }  # fmt: skip
    (place / "cfg.json").write_text(json.dumps(values))
    from sae_lens import SAE

    _keep_sae_lens(SAE.load_from_disk(place), place)


def sparsify(folder: Path) -> None:
    from sparsify import SparseCoder, SparseCoderConfig

    kinds = {"topk": {}, "transcoder": {"transcode": True}, "skip": {"transcode": True, "skip_connection": True},
             "centred-skip": {"skip_connection": True}}  # fmt: skip
    for kind, more in kinds.items():
        (folder / kind).mkdir(parents=True)
        (folder / kind / "config.json").write_text(json.dumps({"model": "pico"}))
        for seed in SEEDS:
            torch.manual_seed(seed)
            d, n = WIDTHS[seed]
            width = {"num_latents": n} if seed else {"expansion_factor": 3}
            coder = moved(SparseCoder(d, SparseCoderConfig(k=4, **width, **more)))
            place = folder / kind / ("layers.1.mlp" if more else "layers.1") / f"seed{seed}"
            coder.save_to_disk(place)
            x = torch.randn(ROWS, d)
            keep(folder / f"{kind}-{place.parent.name}-{place.name}", x, codes(coder, x), coder(x).sae_out)


def codes(coder, x: Tensor) -> Tensor:
    """sparsify's code, dense."""
    found = coder.encode(x)
    f = torch.zeros(len(x), coder.num_latents)
    return f.scatter(1, found.top_indices, found.top_acts)


def dictionary_learning(folder: Path) -> None:
    from dictionary_learning import dictionary
    from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
    from dictionary_learning.trainers.top_k import AutoEncoderTopK

    kinds = {
        "AutoEncoder": dictionary.AutoEncoder, "AutoEncoderNew": dictionary.AutoEncoderNew,
        "GatedAutoEncoder": dictionary.GatedAutoEncoder, "JumpReluAutoEncoder": dictionary.JumpReluAutoEncoder,
        "AutoEncoderTopK": lambda d, n: AutoEncoderTopK(d, n, 4), "BatchTopKSAE": lambda d, n: BatchTopKSAE(d, n, 4),
        "MatryoshkaBatchTopKSAE": lambda d, n: MatryoshkaBatchTopKSAE(d, n, 4, [n // 4, n - n // 4]),
    }  # fmt: skip
    for kind, make in kinds.items():
        for seed in SEEDS:
            torch.manual_seed(seed)
            d, n = WIDTHS[seed]
            ae = moved(make(d, n))
            if kind in ("BatchTopKSAE", "MatryoshkaBatchTopKSAE"):
                ae.threshold.fill_(0.7)
            place = folder / f"{kind}-{seed}"
            place.mkdir(parents=True)
            torch.save(ae.state_dict(), place / "ae.pt")
            said = "AutoEncoder" if kind == "AutoEncoderNew" else kind  # as its trainers write it
            trainer = {"dict_class": said, "activation_dim": d, "dict_size": n, "lm_name": "pico", "layer": 1,
                       "submodule_name": "resid_post_layer_1", **({"k": 4} if "TopK" in kind else {})}  # fmt: skip
            (place / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {}}))
            x = torch.randn(ROWS, d)
            f = ae.encode(x)
            keep(place, x, f, ae.decode(f))


def circuit_tracer(folder: Path) -> None:
    """Sets of one transcoder, and transcoders across two layers; rows, codes and reproductions layer after layer."""
    from circuit_tracer.transcoder.activation_functions import JumpReLU
    from circuit_tracer.transcoder.cross_layer_transcoder import CrossLayerTranscoder
    from circuit_tracer.transcoder.single_layer_transcoder import SingleLayerTranscoder, TranscoderSet

    how = {"device": torch.device("cpu"), "dtype": torch.float32}
    hooks = {"feature_input_hook": "mlp.hook_in", "feature_output_hook": "hook_mlp_out"}

    def one(d: int, n: int, threshold: bool, skip: bool) -> nn.Module:
        activation = JumpReLU(torch.zeros(n)) if threshold else torch.relu
        return TranscoderSet({0: moved(SingleLayerTranscoder(d, n, activation, 0, skip, **how))}, **hooks)

    def across(d: int, n: int, threshold: bool, skip: bool) -> nn.Module:
        kind = "jump_relu" if threshold else "relu"
        made = moved(CrossLayerTranscoder(2, n, d, kind, skip, lazy_decoder=False, **hooks, **how))
        for W in (made.W_enc, *made.W_dec):
            W.data /= 6  # as small as the others', whose matrices have two dimensions
        return made

    kinds = {"relu": (one, False, False), "relu-skip": (one, False, True), "jumprelu": (one, True, False),
             "jumprelu-skip": (one, True, True), "clt-relu": (across, False, False),
             "clt-jumprelu": (across, True, False)}  # fmt: skip
    for kind, (make, *asked) in kinds.items():
        for seed in SEEDS:
            torch.manual_seed(seed)
            made, place = make(*WIDTHS[seed], *asked), folder / f"{kind}-{seed}"
            made.to_safetensors(str(place))
            model_kind = "transcoder_set" if make is one else "cross_layer_transcoder"
            values = {"model_name": "pico", "model_kind": model_kind, "scan": "pico", **hooks}
            (place / "config.yaml").write_text(json.dumps(values))  # which is YAML, too
            x = torch.randn(made.n_layers, ROWS, WIDTHS[seed][0])
            f = made.encode(x)
            x_hat = made.decode(f, x) if make is one else made(x)
            keep(place, *(each.transpose(0, 1).flatten(1) for each in (x, f, x_hat)))


if __name__ == "__main__":
    for library in (sae_lens, sparsify, dictionary_learning, circuit_tracer):
        library(Path(sys.argv[1]) / library.__name__)
