"""Which implementation of an op runs: by device, or as SAELAB_KERNELS says.

    reference   the definition in plain PyTorch, slow and plain
    cpu         PyTorch ops on whatever device the tensors are on
    triton      the Triton kernels, on a GPU or under TRITON_INTERPRET=1

Every op has the first two. One that has no Triton kernel yet runs its `cpu` implementation in place of it.
"""

from __future__ import annotations

import logging
import os
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

NAMES = ("reference", "cpu", "triton")
VARIABLE = "SAELAB_KERNELS"
_log = logging.getLogger("saelab.kernels")


class KernelError(ValueError):
    """An implementation that was asked for and cannot run here. The message says what to do."""


def backend(like: Tensor) -> str:
    """The implementation for tensors on the device of `like`. Raises KernelError for one that cannot run on it."""
    return _chosen(like.device.type, os.environ.get(VARIABLE, ""))


@cache
def _chosen(device: str, forced: str) -> str:
    """Decided, and logged, once for each device and setting."""
    if forced and forced not in NAMES:
        raise KernelError(f"{VARIABLE} = {forced!r}; it can be {', '.join(NAMES)}, or be left out")
    if forced == "triton":
        _require_triton(device)
    name, why = (forced, f"{VARIABLE} says so") if forced else _by_device(device)
    if name == "triton":
        os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")  # what it does anyway, without saying so at each kernel
    _log.info("kernels on %s: %s (%s)", device, name, why)
    return name


def _require_triton(device: str) -> None:
    if find_spec("triton") is None:
        raise KernelError(f"{VARIABLE} = 'triton', but Triton is not installed.\n  fix:   pip install 'saelab[gpu]'")
    if device != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise KernelError(
            f"{VARIABLE} = 'triton', but the tensors are on {device}, where Triton has no compiler.\n"
            f"  fix:   leave {VARIABLE} out, or set TRITON_INTERPRET=1 as well (very slow: it is for tests)"
        )


def _by_device(device: str) -> tuple[str, str]:
    if device != "cuda":
        return "cpu", "there is no GPU under these tensors"
    if find_spec("triton") is None:
        return "cpu", "Triton is not installed: pip install 'saelab[gpu]'"
    return "triton", "a GPU, and Triton is installed"
