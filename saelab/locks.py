"""One process at a time writes a folder; the system lets go of it however the process ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from saelab.errors import SaelabError


def hold(folder: Path, refusal: type[SaelabError]) -> int:
    """Hold `folder`, which must exist, until what is returned is closed. Raises `refusal` when another process does."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise refusal(f"{folder} is being written by another process.\n  fix:   wait until it has ended") from None
    return handle


@contextmanager
def alone(folder: Path, refusal: type[SaelabError]) -> Iterator[None]:
    """Hold `folder` in a `with` block."""
    handle = hold(folder, refusal)
    try:
        yield
    finally:
        os.close(handle)
