"""What an index was made from, and whether that still is what lies on disk."""

import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from saelab.errors import CheckpointError, FeatureIndexError

FORMAT = 4
DATABASE = 2  # of the database alone: it is generated anew from the parts, which stay as they are
WEIGHTS = "sae_weights.safetensors"


def weights_hash(checkpoint: Path) -> str:
    """sha256 of the checkpoint's weights file."""
    file = checkpoint / WEIGHTS
    try:
        status = file.stat()
    except FileNotFoundError:
        raise CheckpointError(
            f"{checkpoint} holds no {WEIGHTS}: it is no finished checkpoint.\n  fix:   finish it with `saelab train`"
        ) from None
    return _sha256(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def _sha256(file: Path, mtime_ns: int, size: int) -> str:
    """The digest, computed once per process for a file that has not changed since."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while piece := opened.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()


def settings_of(checkpoint: Path) -> dict[str, Any]:
    """What cfg.json says besides metadata: with the weights, it decides every activation."""
    values = json.loads((checkpoint / "cfg.json").read_text(encoding="utf-8"))
    return {key: value for key, value in values.items() if key != "metadata"}


def relative(checkpoint: Path, root: Path) -> str:
    """The checkpoint as seen from the index, so that a run's folder can be moved as a whole."""
    return Path(os.path.relpath(checkpoint.resolve(), root.resolve())).as_posix()


def refuse_stale(root: Path, checkpoint: Path, made_from: str) -> None:
    """Raise FeatureIndexError when the checkpoint's weights are not those the index was made from.

    An index can be browsed without its checkpoint: a missing one is not a changed one.
    """
    if not (checkpoint / WEIGHTS).is_file():
        return
    now = weights_hash(checkpoint)
    if now != made_from:
        raise FeatureIndexError(
            f"the index does not belong to the weights beside it: they have changed since it was made.\n"
            f"  index:      {root}, made from weights {made_from[:16]}\n"
            f"  checkpoint: {checkpoint}, now holds weights {now[:16]}\n"
            f"  fix:        saelab index {checkpoint}"
        )
