"""What `saelab bench` times: one file each."""

from collections.abc import Callable
from typing import Any

from saelab.bench.app import AppBench, bench_app
from saelab.bench.gpu import GpuBench, bench_gpu
from saelab.bench.harvest import HarvestBench, bench_harvest
from saelab.bench.kernels import KernelBench, bench_kernels
from saelab.bench.quality import QualityBench, bench_quality
from saelab.bench.sweep import SweepBench, bench_sweep
from saelab.bench.train import bench_train
from saelab.bench.train_result import TrainBench
from saelab.bench.variants import VariantBench, bench_variants

BENCHES: dict[str, Callable[..., Any]] = {
    "kernels": bench_kernels,
    "train": bench_train,
    "quality": bench_quality,
    "variants": bench_variants,
    "gpu": bench_gpu,
    "harvest": bench_harvest,
    "sweep": bench_sweep,
    "app": bench_app,
}

__all__ = [
    "BENCHES",
    "AppBench",
    "GpuBench",
    "HarvestBench",
    "KernelBench",
    "QualityBench",
    "SweepBench",
    "TrainBench",
    "VariantBench",
    "bench_app",
    "bench_gpu",
    "bench_harvest",
    "bench_kernels",
    "bench_quality",
    "bench_sweep",
    "bench_train",
    "bench_variants",
]
