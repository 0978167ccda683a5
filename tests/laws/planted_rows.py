"""Rows made of a few known directions, and one small SAE of every variant trained on them."""

from typing import Any

import pytest
import torch
from torch import Tensor

from saelab.contracts import Batch
from saelab.sae import SAE, VARIANTS, sae_config

D, FEATURES, D_SAE, ACTIVE, BATCH, STEPS = 16, 32, 40, 2.0, 256, 200
SETTINGS: dict[str, dict[str, Any]] = {
    "relu": {"l1": 0.3},
    "topk": {"k": 3},
    "batchtopk": {"k": 2},
    "jumprelu": {"target_l0": ACTIVE, "bandwidth": 0.4, "initial_threshold": 0.4},
    "gated": {"target_l0": ACTIVE},
    "gsae": {"k": 3},
    "mp": {"k": 3},
    "tsae": {"target_l0": ACTIVE, "bandwidth": 0.4, "initial_threshold": 0.4},
    "hierarchical_topk": {"k": 3},
    "matryoshka": {"k": 2, "groups": [0.2, 0.2, 0.6]},
    "msae": {"k0": 2, "weighting": "reverse", "inference_k": 4},
    "mutual_choice": {"k": 2, "aux_on": "underused"},
    "feature_choice": {"k": 2, "alpha": 0.0, "mutual_first": 0.0},
    "ortsae": {"k": 2, "gamma": 0.1, "chunk": 16},
    "topafa": {},
    "bilinear": {},
}


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def directions() -> Tensor:
    """The planted dictionary, [FEATURES, D]: two orthonormal bases, cosines of 1/4 between them."""
    hadamard = torch.ones(1, 1)
    while len(hadamard) < D:
        hadamard = torch.kron(hadamard, torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
    rotation = torch.linalg.qr(torch.randn(D, D, generator=generator(0))).Q
    return torch.cat([torch.eye(D), hadamard / D**0.5]) @ rotation


def rows(n: int, seed: int = 1) -> Tensor:
    """Rows of mean length sqrt(D), each of ACTIVE directions on average with strengths from 0.5 to 1.5."""
    on = torch.rand(n, FEATURES, generator=generator(seed)) < ACTIVE / FEATURES
    x = (on * (0.5 + torch.rand(n, FEATURES, generator=generator(seed + 1)))) @ directions()
    return x * (D**0.5 / x.norm(dim=1).mean())


def grad(parameter: Tensor) -> Tensor:
    """The gradient, which there is."""
    assert parameter.grad is not None
    return parameter.grad


def needs_rows(variant: str) -> None:
    """Skip a law about x_hat, encoder and decoder for a variant that has none."""
    if not VARIANTS[variant].reproduces_rows:
        pytest.skip(f"{variant} reproduces no rows: neither encoder nor decoder, and no transcoder")


def batch(x: Tensor, y: Tensor) -> Batch:
    """Rows to train on. They come with a gradient, that of |y|^2 / 2."""
    return Batch(x, y, y)


def outcome(sae: SAE, x: Tensor) -> Tensor:
    """x_hat; the code of a variant that has none."""
    return sae(x) if sae.reproduces_rows else sae.encode(x)


def build(variant: str, **changes: Any) -> SAE:
    """An untrained SAE of the planted sizes."""
    if changes.keys() & {"d_out", "apply_b_dec_to_input"}:
        needs_rows(variant)
    cfg = sae_config({"variant": variant, "d_in": D, "d_sae": D_SAE, **SETTINGS[variant], **changes})
    return VARIANTS[variant](cfg, generator(2))


def train(
    sae: SAE, steps: int = STEPS, lr: float = 2e-2, x: Tensor | None = None, y: Tensor | None = None
) -> list[float]:
    """A plain Adam run with a linear decay; the loss of every step."""
    x = rows(steps * BATCH) if x is None else x
    y = x if y is None else y
    optimiser = torch.optim.Adam(sae.parameters(), lr=lr, fused=True)
    sae.total_steps, losses = steps, []
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = lr * min(1, 4 * (steps - step) / steps)
        part = slice(step * BATCH, (step + 1) * BATCH)
        loss = torch.stack(list(sae.loss_terms(batch(x[part], y[part]), step).values())).sum()
        loss.backward()
        sae.project_gradients()
        optimiser.step()
        optimiser.zero_grad()
        sae.after_step(step)
        losses.append(loss.item())
    return losses
