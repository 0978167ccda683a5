"""Which implementations of the ops can run here."""

import os
from importlib.util import find_spec

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
TRITON = bool(find_spec("triton")) and (INTERPRETED or torch.cuda.is_available())
needs_triton = pytest.mark.skipif(not TRITON, reason="no GPU, and TRITON_INTERPRET is not 1")


def device_of(implementation: str) -> str:
    """Where its tensors belong."""
    return "cuda" if implementation == "triton" and not INTERPRETED else "cpu"
