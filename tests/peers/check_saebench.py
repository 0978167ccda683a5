"""Run by SAEBench's Python: its core figures of one SAE, on a GPT-2 and tokens handed over as files.

python check_saebench.py FOLDER        reads FOLDER/sae, model.safetensors, tokens.safetensors; prints JSON
"""

import json
import sys
from pathlib import Path

import torch
from sae_bench.evals.core.main import CoreEvalConfig, run_evals
from sae_lens import SAE
from safetensors.torch import load_file
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformers import GPT2Config, GPT2LMHeadModel


class Tokens:
    """The few things of an ActivationsStore that SAEBench asks for: the same batches every time."""

    def __init__(self, ids: torch.Tensor, batch: int) -> None:
        self.batches, self.next = ids.split(batch), 0
        self.store_batch_size_prompts, self.context_size = batch, ids.shape[1]

    def get_batch_tokens(self, batch: int) -> torch.Tensor:
        self.next += 1
        return self.batches[self.next - 1]

    def reset_input_dataset(self) -> None:
        self.next = 0


def hooked(folder: Path) -> HookedTransformer:
    """The GPT-2 of the files as a HookedTransformer, nothing folded."""
    from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights

    config = GPT2Config(**json.loads((folder / "model.json").read_text()))
    gpt2 = GPT2LMHeadModel(config)
    gpt2.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    cfg = HookedTransformerConfig(
        n_layers=config.n_layer, d_model=config.n_embd, n_ctx=config.n_positions, n_heads=config.n_head,
        d_head=config.n_embd // config.n_head, d_mlp=4 * config.n_embd, d_vocab=config.vocab_size, act_fn="gelu_new",
        normalization_type="LN", eps=config.layer_norm_epsilon, device="cpu",
    )  # fmt: skip
    model = HookedTransformer(cfg)
    missing = model.load_state_dict(convert_gpt2_weights(gpt2.eval(), cfg), strict=False).missing_keys
    assert all(name.endswith(("mask", "IGNORE", "b_U")) for name in missing), missing
    return model.eval()


def main(folder: Path) -> None:
    tokens = load_file(folder / "tokens.safetensors")["ids"]
    sae = SAE.load_from_disk(str(folder / "sae"), device="cpu")
    for name in ("hook_name", "hook_layer", "hook_head_index"):  # SAEBench looks for them in cfg itself
        if not hasattr(sae.cfg, name):
            setattr(sae.cfg, name, {"hook_layer": 1, "hook_head_index": None}.get(name, sae.cfg.metadata.hook_name))
    batch = 4
    n = -(-len(tokens) // batch)
    config = CoreEvalConfig(
        batch_size_prompts=batch, n_eval_reconstruction_batches=n, n_eval_sparsity_variance_batches=n,
        compute_kl=True, compute_ce_loss=True, compute_l2_norms=True, compute_sparsity_metrics=True,
        compute_variance_metrics=True,
    )  # fmt: skip
    found, _ = run_evals(sae, Tokens(tokens, batch), hooked(folder), config)
    print(json.dumps({name: value for group in found.values() for name, value in group.items()}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
