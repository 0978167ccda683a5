"""Everything to be known of a GPU in one call: are the kernels right there, how fast is each, how fast a whole step.

The shapes are those of DESIGN's targets: small, middle and large SAEs on the residual stream of models of width 768,
2304 and 4096. `small` runs the same on tiny shapes anywhere, to see that the call works before a GPU is paid for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from saelab.bench.correct import TOLERANCE, Check, check_kernels
from saelab.bench.kernels import KernelBench, bench_kernels
from saelab.bench.rows import GAUSSIAN
from saelab.bench.train import TrainBench, TrainBenchConfig, bench_train
from saelab.bench.workers import BenchError
from saelab.contracts import Progress, Silent


class Shape(NamedTuple):
    """One size of SAE and batch, and what a step of it is to take on an H100."""

    d_in: int
    d_sae: int
    k: int
    batch: int
    target_ms: float | None


SHAPES = (
    Shape(768, 24_576, 32, 8192, 1.5),
    Shape(2304, 65_536, 64, 4096, 6.5),
    Shape(4096, 131_072, 64, 8192, 29.5),
)
TINY = (Shape(31, 257, 5, 130, None), Shape(48, 384, 8, 64, None))
STEPS = 60


@dataclass(frozen=True)
class GpuBench:
    """What was checked, and for each shape its ops and its steps."""

    checks: tuple[Check, ...]
    shapes: tuple[Shape, ...]
    kernels: tuple[KernelBench, ...]
    steps: tuple[TrainBench, ...]

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Columns and rows for the terminal: what failed, then every library at every shape."""
        failed = [check for check in self.checks if not check.passed]
        rows = [["kernels right", f"{len(self.checks) - len(failed)} of {len(self.checks)}", "", "", ""]]
        for one in failed:
            rows.append([f"WRONG: {one.op}, {one.dtype}, {one.shape}", f"off by {one.error:.1e}", "", "", ""])
        for shape, steps in zip(self.shapes, self.steps, strict=True):
            rows += list(_libraries(shape, steps))
        return ["what", "d_in x d_sae, k, batch", "ms a step", "target", "times saelab"], rows

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return {
            "format": 1,
            "checks": [check.to_json() for check in self.checks],
            "kernels": [one.to_json() for one in self.kernels],
            "train": [one.to_json() for one in self.steps],
        }


def _libraries(shape: Shape, steps: TrainBench) -> Iterator[list[str]]:
    for row in steps.rows:
        target = f"{shape.target_ms}" if row.library == "saelab" and shape.target_ms else ""
        size = f"{shape.d_in} x {shape.d_sae}, {shape.k}, {shape.batch}"
        yield [f"{row.library}, {row.setting}", size, f"{row.ms_per_step:.2f}", target, f"{row.times_saelab:.2f}"]


def bench_gpu(small: bool = False, peers_python: Path | None = None, progress: Progress | None = None) -> GpuBench:
    """Check, then time. Raises BenchError without a GPU, unless `small`."""
    progress, cuda = progress or Silent(), torch.cuda.is_available()
    if not cuda and not small:
        raise BenchError(
            "there is no GPU here, and these shapes take hours without one.\n"
            "  fix:   run it where there is one; --small runs the same on tiny shapes anywhere"
        )
    shapes = TINY if small else SHAPES
    progress.note("kernels beside their definitions in fp64")
    checks = check_kernels("cuda" if cuda else "cpu", tuple(TOLERANCE) if cuda else (torch.float32,))
    kernels, steps = [], []
    for shape in shapes:
        sizes: dict[str, Any] = {"d_in": shape.d_in, "d_sae": shape.d_sae, "k": shape.k, "batch": shape.batch}
        kernels.append(bench_kernels(rows=GAUSSIAN, **sizes, progress=progress))
        cfg = TrainBenchConfig(rows=GAUSSIAN, **sizes, steps=STEPS, peers_python=peers_python)
        steps.append(bench_train(cfg, progress))
    return GpuBench(tuple(checks), shapes, tuple(kernels), tuple(steps))
