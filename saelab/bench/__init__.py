"""What `saelab bench` times: one file each."""

from collections.abc import Callable
from typing import Any

from saelab.bench.harvest import HarvestBench, bench_harvest
from saelab.bench.sweep import SweepBench, bench_sweep

BENCHES: dict[str, Callable[..., Any]] = {
    "harvest": bench_harvest,
    "sweep": bench_sweep,
}

__all__ = ["BENCHES", "HarvestBench", "SweepBench", "bench_harvest", "bench_sweep"]
