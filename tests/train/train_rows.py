"""A store of 6,000 training and 1,000 held-out rows of width 16: sums of a few of 24 planted directions, off centre.

Beside them stand the gradients of a loss that rises with the distance from the centre.
"""

from pathlib import Path

import torch
from torch import Tensor

from saelab.config import settings
from saelab.store import ShardColumns, Store, StoreWriter, gradient_of
from saelab.train import TrainConfig

SITE, OTHER = "blocks.1.hook_resid_post", "blocks.1.hook_mlp_out"
TOPK = {"variant": "topk", "d_sae": 32, "k": 4}


def planted(rows: int, seed: int) -> Tensor:
    """Rows [rows, 16] of mean norm far from 1 and mean far from 0, as residual streams have them."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(24, 16, generator=torch.Generator().manual_seed(7)), dim=1)
    codes = (torch.rand(rows, 24, generator=generator) < 0.1) * (0.5 + torch.rand(rows, 24, generator=generator))
    return 20 * codes @ directions + 50


def columns(rows: int) -> ShardColumns:
    number = torch.arange(rows)
    return ShardColumns(number // 100, number % 100, number // 100, number % 7, 0, 0, -(-rows // 100))


def make_store(path: Path, heldout: int = 1000, gradients: bool = True) -> Store:
    config, model = {"tokens": 6000}, {"name": "planted", "fingerprint": "f", "n_layers": 2, "context": 100}
    sites = {SITE: 16, OTHER: 12}
    request = {"config": config, "model": model, "corpus": {}, "sites": sites, "gradients": gradients}
    with StoreWriter.begin(path, **request, dtype="float32") as writer:
        for split, rows, seed in (("train", 6000, 1), ("heldout", heldout, 2)):
            if rows:
                x = planted(rows, seed)
                acts = {SITE: x, OTHER: 2 * x[:, :12] + 1}
                slopes = {gradient_of(site): (one - one.mean(dim=0)) / 100 for site, one in acts.items()}
                writer.write_shard(split, 0, columns(rows), acts | slopes)
                writer.write_documents(split, {i: f"document {i}" for i in range(-(-rows // 100))})
        return writer.finish()


def config(store, out, sae=TOPK, rows=4000, **more):
    own = {"rows": rows, "batch": 200, "lr": 3e-3, **more.pop("train", {})}
    values = {"store": str(store.path), "out": str(out), "site": SITE, "sae": sae, "train": own, **more}
    return settings(TrainConfig, values, where="test")


def artefacts(folder):
    """Every file of a checkpoint's folder and its bytes."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
