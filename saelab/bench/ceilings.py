"""What this machine does at best: large products and large copies. Without it a time says little."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

SIDE = {"cpu": 2048, "cuda": 8192}  # of the products
COPY_BYTES = {"cpu": 1 << 28, "cuda": 1 << 32}  # far beyond any cache
SECONDS, FEWEST, MOST = 1.0, 5, 50  # to spend on one measurement, and how often at least and at most


@dataclass(frozen=True)
class Ceilings:
    """Operations per second by dtype, and bytes read and written per second."""

    flops: dict[str, float]
    bytes: float


def measure_ceilings(device: str) -> Ceilings:
    """The best of several runs each. Products of random numbers: zeros would run faster than any real ones."""
    kind, dtypes = torch.device(device).type, (torch.float32, torch.bfloat16)
    flops = {str(dtype).removeprefix("torch."): _product(device, SIDE[kind], dtype) for dtype in dtypes}
    return Ceilings(flops, _copy(device, COPY_BYTES[kind]))


def _product(device: str, side: int, dtype: torch.dtype) -> float:
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty(side, side, device=device, dtype=dtype)
    return 2 * side**3 / min(seconds_of(lambda: torch.mm(a, b, out=out), device))


def _copy(device: str, size: int) -> float:
    source = torch.randn(size // 4, device=device)
    target = torch.empty_like(source)
    return 2 * size / min(seconds_of(lambda: target.copy_(source), device))


def seconds_of(work: Callable[[], Any], device: str) -> list[float]:
    """Seconds of each of several runs, after two that count for nothing."""
    for _ in range(2):
        once(work, device)
    found: list[float] = []
    while len(found) < FEWEST or (sum(found) < SECONDS and len(found) < MOST):
        found.append(once(work, device))
    return found


def once(work: Callable[[], Any], device: str) -> float:
    """Seconds until the device has done it."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def median_seconds(work: Callable[[], Any], device: str) -> float:
    """The median of `seconds_of`."""
    return statistics.median(seconds_of(work, device))
