"""Where a figure was measured: without it the figure means nothing."""

import os
import platform
from pathlib import Path
from typing import Any

import torch

from saelab.kernels.backend import backend


def machine() -> dict[str, Any]:
    """Processor or GPU, its cores, and the versions that decide about speed."""
    cuda = torch.cuda.is_available()
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if cuda else None,
        "torch": torch.__version__,
        "kernels": backend(torch.empty(0, device="cuda" if cuda else "cpu")),
        "system": platform.platform(),
    }


def processor() -> str:
    """The model's name, as the system knows it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
