"""What a worker measures of its library: seconds, bytes, and the error on held-out rows."""

import ctypes
import gc
import os
import platform
import resource
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

SHORTEST = 0.2  # seconds that can be judged by a clock of 10 ms
TOLERATED = 0.15  # of a core: the system's own work


def seconds_of(steps: Iterable[Callable[[], None]], device: str) -> list[float]:
    """Seconds of each step: wall time on a CPU, between events on a GPU, where nothing waits between two steps."""
    if not device.startswith("cuda"):
        return [_wall(step) for step in steps]
    marks = [_mark()]
    for step in steps:
        step()
        marks.append(_mark())
    torch.cuda.synchronize()
    return [before.elapsed_time(after) / 1e3 for before, after in pairwise(marks)]


def _wall(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def _mark() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


class Others:
    """What other processes do meanwhile: libraries suffer from it unequally, by how many threads meet how often."""

    def __init__(self) -> None:
        self.wall, self.all, self.own = time.perf_counter(), _busy(), time.process_time()

    def disturb(self, device: str) -> bool:
        """Whether they took cores that this process would have used; where that cannot be told, no."""
        wall = time.perf_counter() - self.wall
        if device.startswith("cuda") or wall < SHORTEST:
            return False
        others = (_busy() - self.all - (time.process_time() - self.own)) / wall
        return others > (os.cpu_count() or 1) - torch.get_num_threads() + TOLERATED


def _busy() -> float:
    """Seconds that all cores together have worked so far; 0 where there is no /proc/stat."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system, _, _, irq, softirq, steal = stat.read_text(encoding="ascii").split()[1:9]
    return sum(map(int, (user, nice, system, irq, softirq, steal))) / os.sysconf("SC_CLK_TCK")


class Memory:
    """Bytes at most in use beyond those in use when this was made: weights, optimiser and temporaries alike."""

    def __init__(self, device: str) -> None:
        self.cuda = device.startswith("cuda")
        if self.cuda:
            self.source = "allocated by torch on the GPU"
        else:
            self.source = "resident memory" if _resettable() else "resident memory since the worker started"
        self.before = torch.cuda.memory_allocated() if self.cuda else _status("VmRSS")

    def forget(self) -> None:
        """Begin again with what is in use now."""
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        elif _resettable():
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")

    def peak(self) -> int:
        if self.cuda:
            return torch.cuda.max_memory_allocated() - self.before
        if _resettable():
            return _status("VmHWM") - self.before
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - self.before


def release() -> None:
    """Give freed memory back to the system, so that what was done before does not hide what comes."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def _resettable() -> bool:
    """Whether the high-water mark of resident memory can be set back: Linux only."""
    return Path("/proc/self/clear_refs").exists()


def _status(key: str) -> int:
    """Bytes, from /proc/self/status; 0 where there is none."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii").splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":")), 0)


@torch.no_grad()
def fvu(x: Tensor, reproduce: Callable[[Tensor], Tensor], batch: int) -> float:
    """sum |x - x_hat|^2 / sum |x - mean(x)|^2 over all rows of x: saelab.metrics.fvu, for a Python without saelab."""
    error = 0.0
    for rows in x.split(batch):
        error += (rows.double() - reproduce(rows).double()).pow(2).sum().item()
    return error / (x.double() - x.double().mean(dim=0)).pow(2).sum().item()


@torch.no_grad()
def l0(x: Tensor, active: Callable[[Tensor], Tensor], batch: int) -> float:
    """Mean number of active features over all rows of x; `active` gives the number of each row."""
    return sum(active(rows).double().sum().item() for rows in x.split(batch)) / len(x)
