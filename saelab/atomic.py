"""Files that are there whole or not at all: write aside, fsync, rename, fsync the folder.

A file named *.tmp was never finished. Nothing reads one, and the next start deletes it.
"""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from saelab.errors import DiskFull

SPARE = 1.05  # room asked for, over what will be written: other programs write too


def write_bytes(path: Path, data: Any) -> None:
    """Put `data` (bytes or any other buffer) at `path`. Raises DiskFull, nothing left behind, when it does not fit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with aside(path) as tmp:
        with open(tmp, "wb") as file:
            file.write(data)
        publish(tmp, path)


def write_json(path: Path, values: Any) -> None:
    """Put `values` at `path` as JSON."""
    write_bytes(path, (json.dumps(values, indent=1, allow_nan=False) + "\n").encode())


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """Where to write what is to become `path`. It is gone when that fails; raises DiskFull when the disk was full."""
    tmp = path.with_name(path.name + ".tmp")
    try:
        yield tmp
    except Exception as error:
        tmp.unlink(missing_ok=True)
        raise as_disk_full(error, path) from error


def publish(tmp: Path, path: Path) -> None:
    """Make the finished file `tmp` the file `path`; afterwards it survives a crash of the machine."""
    _fsync(tmp)
    os.replace(tmp, path)
    _fsync(path.parent)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep_tmp(folder: Path) -> None:
    """Delete what an interrupted run left half-written anywhere below `folder`."""
    for tmp in folder.rglob("*.tmp"):
        tmp.unlink()


def as_disk_full(error: Exception, path: Path) -> Exception:
    """DiskFull when that is what `error` says, with a number or (safetensors, DuckDB) in words, else `error` itself."""
    numbered = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if not numbered and os.strerror(errno.ENOSPC) not in str(error):
        return error
    return DiskFull(
        f"the disk is full: {path} could not be written.\n"
        f"  fix:   free some room and run the same command again; what is finished is kept"
    )


def free_bytes(path: Path) -> int:
    """Free bytes on the disk that holds `path`, which need not exist yet."""
    there = path.resolve()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free


def require_free(path: Path, need: int) -> None:
    """Raise DiskFull unless `need` bytes and 5 % more fit on the disk of `path`."""
    free = free_bytes(path)
    if free < need * SPARE:
        raise DiskFull(
            f"{path} needs {need * SPARE / 1e9:.2f} GB, but {free / 1e9:.2f} GB are free.\n"
            f"  fix:   free some room, write to another disk, or ask for fewer tokens or sites"
        )
