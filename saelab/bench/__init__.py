"""What `saelab bench` times: one file each."""

from collections.abc import Callable
from typing import Any

from saelab.bench.harvest import HarvestBench, bench_harvest

BENCHES: dict[str, Callable[..., Any]] = {
    "harvest": bench_harvest,
}

__all__ = ["BENCHES", "HarvestBench", "bench_harvest"]
