"""One process at a time writes an index."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from saelab.errors import FeatureIndexError


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold `folder`; the system lets go of it however the process ends."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise FeatureIndexError(
            f"{folder} is being written by another process.\n  fix:   wait until it has ended"
        ) from None
    finally:
        os.close(handle)
