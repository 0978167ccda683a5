"""What is derived when the settings leave it open."""

import math

import torch


def default_learning_rate(d_sae: int, rows: int) -> float:
    return 2e-3 / math.sqrt(d_sae / 2**14)


def default_dead_after(rows: int) -> int:
    return max(1, min(10_000_000, rows // 10))


def resolve_device(name: str) -> str:
    """`auto` is the first CUDA device if there is one, else the CPU."""
    return name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
