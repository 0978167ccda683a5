"""Each op of a training step alone: its time, beside what this machine could do at best, measured in the same call.

    floor = max(flop / ceiling of products, bytes / ceiling of copies),    gap = time / floor

Flop and bytes are the least that the op needs (stated at each op); ceilings are the best of several large products and
copies. What an op reads may lie in a cache, so a gap below 1 is possible on a processor. The pattern is that of real
rows after some training, with its few hot and many rare features; batches take turns.
"""

from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

from saelab.bench.ceilings import Ceilings, measure_ceilings, median_seconds
from saelab.bench.kernel_ops import Op, Step
from saelab.bench.machine import machine
from saelab.bench.rows import draw
from saelab.contracts import Progress, Silent
from saelab.train.defaults import resolve_device

BATCHES = 4


@dataclass(frozen=True)
class OpTime:
    """One op: seconds (median), what it needs at least, and the share of the ceiling that it meets first."""

    op: str
    seconds: float
    flop: float
    bytes: float
    floor: float
    bound_by: str

    @classmethod
    def of(cls, op: Op, seconds: float, ceilings: Ceilings) -> "OpTime":
        """With the floor that the ceilings set."""
        compute, memory = op.flop / ceilings.flops[op.dtype], op.bytes / ceilings.bytes
        bound_by = f"{op.dtype} product" if compute > memory else "memory"
        return cls(op.name, seconds, op.flop, op.bytes, max(compute, memory), bound_by)

    @property
    def gap(self) -> float:
        return self.seconds / self.floor


@dataclass(frozen=True)
class KernelBench:
    """All ops at one shape."""

    date: str
    machine: dict[str, Any]
    data: str
    d_in: int
    d_sae: int
    k: int
    batch: int
    ceilings: Ceilings
    ops: tuple[OpTime, ...]

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Columns and rows for the terminal."""
        peak = {name: f"{value / 1e12:.2f} TFLOP/s" for name, value in self.ceilings.flops.items()}
        rows = [[one.op, *_figures(one)] for one in self.ops]
        rows += [[f"ceiling: {name} product", "", value, "", "", "", ""] for name, value in peak.items()]
        rows += [["ceiling: copy", "", "", f"{self.ceilings.bytes / 1e9:.1f} GB/s", "", "", ""]]
        return ["op", "ms", "compute", "memory", "bound by", "floor, ms", "gap"], rows

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return {"format": 1, **asdict(self), "ops": [{**asdict(one), "gap": one.gap} for one in self.ops]}


def _figures(one: OpTime) -> list[str]:
    return [
        f"{1e3 * one.seconds:.2f}", f"{one.flop / one.seconds / 1e12:.3f} TFLOP/s",
        f"{one.bytes / one.seconds / 1e9:.1f} GB/s", one.bound_by, f"{1e3 * one.floor:.2f}", f"{one.gap:.2f}",
    ]  # fmt: skip


def bench_kernels(
    rows: str | None = None, site: str | None = None, d_in: int | None = None, d_sae: int | None = None, k: int = 32,
    batch: int = 2048, progress: Progress | None = None,
) -> KernelBench:  # fmt: skip
    """Time every op on `rows` (a store, or `gaussian`; None: pico's), with `d_sae` features (None: 16 times d_in)."""
    progress, device = progress or Silent(), resolve_device("auto")
    drawn = draw(rows, site, d_in, [batch * BATCHES])
    batches = [part.to(device) for part in drawn.train.split(batch)[:BATCHES]]
    step = Step(batches, d_sae or 16 * drawn.d_in, k, progress)
    ceilings = measure_ceilings(device)
    ops = list(step.ops())
    progress.start("bench kernels", len(ops), "ops")
    found = []
    for op in ops:
        found.append(OpTime.of(op, median_seconds(op.work, device), ceilings))
        progress.advance(1)
    return KernelBench(
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        machine=machine(),
        data=drawn.origin,
        d_in=drawn.d_in,
        d_sae=len(step.W_dec),
        k=k,
        batch=batch,
        ceilings=ceilings,
        ops=tuple(found),
    )
