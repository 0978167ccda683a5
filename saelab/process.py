"""What this process does with the machine: its memory, the cores of its background threads, how it ends."""

import ctypes
import platform
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from types import FrameType

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc


def keep_freed_memory() -> bool:
    """Make glibc reuse blocks of up to 32 MB (its maximum) instead of unmapping them; False where there is no glibc.

    A training step and a forward pass allocate and free the same large temporaries again and again; page faults on
    fresh mappings cost 10 to 13 % of a step, and a third of a pass of 16 contexts through pico (2 cores, 2026-11-22).
    The trim threshold is a C int, so 2 GB is the largest.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_THRESHOLD, 32 << 20) and mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1))


def reseed(seed: int, device: str) -> None:
    """Seed torch's random numbers on the CPU and on `device`.

    As `torch.manual_seed`, which also writes down a call stack for every kind of accelerator that has not been used
    yet: 1.3 ms, a sixth of a small training step (2 cores, 2026-11-22).
    """
    torch.default_generator.manual_seed(seed)
    if torch.device(device).type == "cuda":
        torch.cuda.manual_seed(seed)


def stay_on_one_core() -> None:
    """To be called first in a background thread: from now on its tensor operations run in this thread alone.

    A second thread with a pool of OpenMP workers makes more workers than there are cores; libgomp then lets every
    worker sleep at the end of each parallel region, and the main thread's own operations lose a sixth of their
    speed (harvest of pico, 2 cores, 2026-11-22). PyTorch remembers the last setting for the threads to come, so
    that is put back, from a thread that ends at once.
    """
    others = torch.get_num_threads()  # also has PyTorch set this thread up: done later, it would undo the next line
    torch.set_num_threads(1)
    thread = Thread(target=torch.set_num_threads, args=(others,))
    thread.start()
    thread.join()


@contextmanager
def leaving_on_sigterm() -> Iterator[None]:
    """Inside the block SIGTERM raises SystemExit, as Ctrl-C raises its own, so that whatever was started is ended too.

    Outside the main thread Python allows no handlers: none is set.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
