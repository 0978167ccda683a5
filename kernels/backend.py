"""Which implementation of an op runs: by device, or as SAELAB_KERNELS says.

reference   the definition in plain PyTorch, slow and plain
cpu         PyTorch ops on whatever device the tensors are on
triton      the Triton kernels, on a GPU or under TRITON_INTERPRET=1
"""

import logging
import os
from functools import cache
from importlib.util import find_spec

from torch import Tensor

NAMES = ("reference", "cpu", "triton")
VARIABLE = "SAELAB_KERNELS"
_log = logging.getLogger("saelab.kernels")


def backend(like: Tensor) -> str:
    """The implementation for tensors on the device of `like`. Raises ValueError for a SAELAB_KERNELS that is none."""
    return _chosen(like.device.type, os.environ.get(VARIABLE, ""))


@cache
def _chosen(device: str, forced: str) -> str:
    """Decided, and logged, once for each device and setting."""
    if forced and forced not in NAMES:
        raise ValueError(f"{VARIABLE} = {forced!r}; it can be {', '.join(NAMES)}, or be left out")
    name, why = (forced, f"{VARIABLE} says so") if forced else _by_device(device)
    _log.info("kernels on %s: %s (%s)", device, name, why)
    return name


def _by_device(device: str) -> tuple[str, str]:
    if device != "cuda":
        return "cpu", "there is no GPU under these tensors"
    if find_spec("triton") is None:
        return "cpu", "Triton is not installed: pip install 'saelab[gpu]'"
    return "triton", "a GPU, and Triton is installed"
