"""What `saelab bench` times: one file each."""

from collections.abc import Callable
from typing import Any

from saelab.bench.gpu import GpuBench, bench_gpu
from saelab.bench.harvest import HarvestBench, bench_harvest
from saelab.bench.kernels import KernelBench, bench_kernels
from saelab.bench.sweep import SweepBench, bench_sweep
from saelab.bench.train import bench_train
from saelab.bench.train_result import TrainBench

BENCHES: dict[str, Callable[..., Any]] = {
    "kernels": bench_kernels,
    "train": bench_train,
    "gpu": bench_gpu,
    "harvest": bench_harvest,
    "sweep": bench_sweep,
}

__all__ = [
    "BENCHES", "GpuBench", "HarvestBench", "KernelBench", "SweepBench", "TrainBench",
    "bench_gpu", "bench_harvest", "bench_kernels", "bench_sweep", "bench_train",
]  # fmt: skip
