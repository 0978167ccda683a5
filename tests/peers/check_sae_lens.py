"""Run by the Python of an environment that holds sae-lens 6.54: does it read our checkpoints as we do?

    python check_sae_lens.py FOLDER

FOLDER holds checkpoints; in each, expected.safetensors has rows x, our codes f and our reproductions x_hat.
"""

import sys
from pathlib import Path

import torch
from sae_lens import SAE
from safetensors.torch import load_file

TOLERANCE = 1e-5  # fp32 sums of a few dozen terms of size 1, in another order


def check(folder: Path) -> str:
    """One line that ends in "ok", or says what differs."""
    sae, expected = SAE.load_from_disk(folder), load_file(folder / "expected.safetensors")
    with torch.no_grad():
        f = sae.encode(expected["x"])
        x_hat = sae(expected["x"])  # with the input at hand, as a skip connection needs
    if sae.cfg.metadata.hook_name != "blocks.1.hook_resid_post":
        return f"{folder.name}: metadata lost, hook_name is {sae.cfg.metadata.hook_name}"
    apart = {"f": (f - expected["f"]).abs().max().item(), "x_hat": (x_hat - expected["x_hat"]).abs().max().item()}
    verdict = "ok" if max(apart.values()) <= TOLERANCE else "DIFFERS"
    return f"{folder.name}: {sae.cfg.architecture()} {apart} {verdict}"


if __name__ == "__main__":
    lines = [check(config.parent) for config in sorted(Path(sys.argv[1]).glob("*/cfg.json"))]
    print("\n".join(lines))
    sys.exit(not lines or any(not line.endswith(" ok") for line in lines))
