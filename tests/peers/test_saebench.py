"""Our core and SAEBench's give one SAE the same figures on the same model and tokens."""

import argparse
import ast
import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from saelab.evals.fidelity import Rows
from saelab.evals.heldout import Tokens
from saelab.evals.losses import Losses
from saelab.intervene import replaced, spliced
from saelab.lm import LanguageModel
from saelab.metrics import Reconstruction, kl_divergence, recovered
from saelab.sae import SAE, VARIANTS, sae_config

PYTHON = os.environ.get("SAELAB_SAEBENCH_PYTHON")
NEEDS = "needs SAELAB_SAEBENCH_PYTHON, the Python of an environment that imports sae-bench==0.6.0 and sae-lens==6.54.12"
PICO = Path(__file__).resolve().parents[2] / "data" / "pico"
SITE = "blocks.1.hook_resid_post"
SAME = {  # SAEBench's name -> ours
    "ce_loss_score": "ce_recovered",
    "ce_loss_with_sae": "ce_spliced",
    "ce_loss_without_sae": "ce",
    "ce_loss_with_ablation": "ce_zero",
    "l0": "l0",
    "cossim": "cosine",
}


@pytest.mark.slow
@pytest.mark.skipif(PYTHON is None, reason=NEEDS)
@pytest.mark.parametrize("model", ["untrained", "pico"])
def test_core_agrees_with_saebench(tmp_path, tiny_lm_dir, model):
    folder = PICO if model == "pico" else tiny_lm_dir
    lm = LanguageModel.load(str(folder), device="cpu")
    ids = _text(lm) if model == "pico" else torch.randint(1, 257, (16, 32), generator=torch.Generator().manual_seed(0))
    sae = _sae(lm, ids)
    sae.save(tmp_path / "sae", {"hook_name": SITE, "model_name": "gpt2", "rows_from": {"hash": "a"}})
    _hand_over(tmp_path, folder, ids)
    script = Path(__file__).with_name("check_saebench.py")
    done = subprocess.run([str(PYTHON), str(script), str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    theirs, (ours, sample) = json.loads(done.stdout.splitlines()[-1]), _ours(sae, lm, ids)
    for name, own in SAME.items():
        assert theirs[name] == pytest.approx(ours[own], rel=1e-3, abs=1e-4), name
    for name, own in _kl(sae, lm, ids).items():
        assert theirs[name] == pytest.approx(own, rel=1e-3, abs=1e-4), name
    assert theirs["l2_ratio"] == pytest.approx(sample.l2_ratio, abs=1e-3)
    assert theirs["relative_reconstruction_bias"] == pytest.approx(sample.relative_bias, abs=1e-2)  # theirs by batch
    assert theirs["explained_variance_legacy"] == pytest.approx(sample.explained_variance_legacy, abs=1e-3)
    # What SAEBench 0.6 calls explained variance is no share of the variance: see saelab.evals.core.
    x = lm.activations(ids, [SITE])[SITE].double()
    squares = x.pow(2).sum(dim=-1).mean()
    wrong = squares - x.pow(2).mean() ** 2
    assert theirs["explained_variance"] == pytest.approx(float(1 - sample.mse / wrong), abs=1e-3)


def _text(lm: LanguageModel) -> torch.Tensor:
    """16 contexts of 128 tokens of the standard library's text, each after a beginning of sequence."""
    text = "".join(Path(module.__file__).read_text(encoding="utf-8") for module in (argparse, ast, subprocess))
    ids = torch.tensor(lm.tokenizer.encode(text)[: 16 * 127]).reshape(16, 127)
    return torch.cat([torch.full((16, 1), lm.tokenizer.bos_token_id), ids], dim=1)


def _sae(lm: LanguageModel, ids: torch.Tensor) -> SAE:
    """A TopK SAE that has learned a little: its figures are neither the identity's nor zero's."""
    torch.manual_seed(0)
    rows = lm.activations(ids, [SITE])[SITE].flatten(0, 1)
    sae = VARIANTS["topk"](sae_config({"variant": "topk", "d_in": rows.shape[1], "d_sae": 3 * rows.shape[1], "k": 12}))
    sae.b_dec.data = rows.mean(dim=0)
    adam = torch.optim.Adam(sae.parameters(), lr=1e-3)
    for _ in range(50):
        adam.zero_grad()
        (sae(rows) - rows).pow(2).sum(dim=-1).mean().backward()
        adam.step()
    return sae.eval()


def _kl(sae: SAE, lm: LanguageModel, ids: torch.Tensor) -> dict[str, float]:
    """KL as SAEBench counts it: at the last position too, though no token follows that it could be a prediction of."""
    counted, clean, found = torch.ones_like(ids, dtype=torch.bool), lm.logits(ids), {}
    for name, edits in (
        ("sae", spliced(sae, counted)),
        ("ablation", replaced(SITE, torch.zeros(sae.cfg.d_in), counted)),
    ):
        with lm.edited(edits):
            found[f"kl_div_with_{name}"] = kl_divergence(clean, lm.logits(ids)).mean().item()
    return {**found, "kl_div_score": recovered(0.0, found["kl_div_with_sae"], found["kl_div_with_ablation"])}


def _hand_over(folder: Path, model: Path, ids: torch.Tensor) -> None:
    (folder / "model.json").write_text((model / "config.json").read_text())
    tensors = {
        n if n.startswith(("transformer.", "lm_head")) else f"transformer.{n}": t.float()
        for n, t in load_file(model / "model.safetensors").items()
    }
    save_file(tensors, folder / "model.safetensors")
    save_file({"ids": ids}, folder / "tokens.safetensors")


def _ours(sae: SAE, lm: LanguageModel, ids: torch.Tensor) -> tuple[dict[str, float], Reconstruction]:
    """Figures with every token counted, in the batches that SAEBench takes."""
    rows = Rows(sae, lm)
    batches = [Tokens(part, torch.ones_like(part, dtype=torch.bool)) for part in ids.split(4)]
    for part in batches:
        rows.add({SITE: lm.activations(part.ids, [SITE])[SITE][part.counted]})
    losses = Losses([sae], {SITE: rows.mean}, lm)
    for part in batches:
        losses.add(part)
    return {**rows.figures(), **losses.figures()}, rows.reconstruction
