"""SAELens reads our checkpoints as they are, and gives our codes and reproductions."""

import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from saelab.contracts import Batch
from saelab.sae import VARIANTS, sae_config

PYTHON = os.environ.get("SAELAB_PEER_PYTHON")
NEEDS = "needs SAELAB_PEER_PYTHON, the Python of an environment with sae-lens==6.54.12"
CASES = {
    "relu": {"variant": "relu", "d_sae": 97},
    "topk": {"variant": "topk", "d_sae": 130, "k": 5},
    "topk-uncentred": {"variant": "topk", "d_sae": 97, "k": 3, "apply_b_dec_to_input": False},
    "batchtopk": {"variant": "batchtopk", "d_sae": 131, "k": 5},
    "jumprelu": {"variant": "jumprelu", "d_sae": 33},
    "relu-transcoder": {"variant": "relu", "d_sae": 97, "d_out": 7},
    "jumprelu-transcoder": {"variant": "jumprelu", "d_sae": 97, "d_out": 7},
    "batchtopk-skip": {"variant": "batchtopk", "d_sae": 97, "d_out": 7, "skip": True, "k": 5},
    "gated": {"variant": "gated", "d_sae": 97},
    "gated-skip": {"variant": "gated", "d_sae": 97, "d_out": 7, "skip": True},
    "hierarchical_topk-at-2": {"variant": "hierarchical_topk", "d_sae": 97, "k": 5, "inference_k": 2},
    "matryoshka-first": {"variant": "matryoshka", "d_sae": 97, "k": 5, "inference_groups": 3},
    "msae": {"variant": "msae", "d_sae": 97, "k0": 5},
    "msae-at-5": {"variant": "msae", "d_sae": 97, "k0": 5, "inference_k": 5},
}


def write(folder: Path, **settings) -> None:
    """A checkpoint with nothing at its initial value, and what it makes of 50 rows."""
    torch.manual_seed(0)
    sae = VARIANTS[settings["variant"]](sae_config({"d_in": 31, **settings}))
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
        sae.after_step(0)
    x = torch.randn(50, 31)
    sae.loss_terms(Batch(x, torch.zeros(50, sae.cfg.width_out)), 0)
    sae.eval().save(folder, {"hook_name": "blocks.1.hook_resid_post", "model_name": "pico", "rows_from": {"hash": "a"}})
    with torch.no_grad():
        save_file({"x": x, "f": sae.encode(x), "x_hat": sae(x)}, folder / "expected.safetensors")


@pytest.mark.slow
@pytest.mark.skipif(PYTHON is None, reason=NEEDS)
def test_sae_lens_gives_our_codes_and_reproductions(tmp_path):
    for name, settings in CASES.items():
        write(tmp_path / name, **settings)
    script = Path(__file__).with_name("check_sae_lens.py")
    done = subprocess.run([str(PYTHON), str(script), str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" ok\n") + done.stdout.endswith(" ok") == len(CASES)
