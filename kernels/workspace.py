"""Buffers that are kept between calls: fresh memory costs a page fault every 4 KB."""

import threading

import torch
from torch import Tensor


class Workspace(threading.local):
    """One buffer per thread, device, dtype and use."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[torch.device, torch.dtype, str], Tensor] = {}

    def take(self, rows: int, columns: int, device: torch.device, dtype: torch.dtype, use: str) -> Tensor:
        """A [rows, columns] view of the buffer. It holds anything, and is overwritten by the next caller."""
        key = (device, dtype, use)
        if key not in self._buffers or self._buffers[key].numel() < rows * columns:
            with torch.inference_mode(False):  # born inside, it could never be written outside
                self._buffers[key] = torch.empty(rows * columns, device=device, dtype=dtype)
        return self._buffers[key][: rows * columns].view(rows, columns)


workspace = Workspace()
