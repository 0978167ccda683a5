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
def in_turn(file: Path) -> Iterator[None]:
    """Hold `file` against other writers for the moment that reading and writing takes; who comes later waits."""
    try:
        handle = os.open(file.with_name(f"{file.name}.lock"), os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise SaelabError(f"{file} cannot be written: {error.strerror}.") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def alone(folder: Path, refusal: type[SaelabError]) -> Iterator[None]:
    """Hold `folder` in a `with` block."""
    handle = hold(folder, refusal)
    try:
        yield
    finally:
        os.close(handle)
