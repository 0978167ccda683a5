"""What a run needs to go on: one file of tensors, and a JSON marker that is replaced last.

A kill leaves the marker of the save before, or of this one; what it does not name is swept away.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from saelab.atomic import publish, require_free, write_json
from saelab.errors import CheckpointError

MARKER = "state.json"
TENSORS = "step-*.safetensors*"


def write_state(folder: Path, tensors: Mapping[str, Tensor], step: int, position: Mapping[str, Any]) -> None:
    """Keep `tensors` and `position` as the state after `step` steps; the state before goes only then."""
    folder.mkdir(parents=True, exist_ok=True)
    require_free(folder, sum(tensor.nbytes for tensor in tensors.values()))
    file = folder / f"step-{step:09d}.safetensors"
    aside = file.with_name(file.name + ".tmp")
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, aside)
    marker = {"format": 1, "step": step, "file": file.name, "bytes": aside.stat().st_size, "crc32": _crc32(aside)}
    publish(aside, file)
    write_json(folder / MARKER, {**marker, **position})
    sweep(folder, keep=file.name)


def read_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The tensors and the marker of the last whole save; None when there is none. Raises CheckpointError for damage."""
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        file = folder / marker["file"]
        whole = file.stat().st_size == marker["bytes"] and _crc32(file) == marker["crc32"]
    except FileNotFoundError as missing:
        if Path(missing.filename).name == MARKER:
            return None
        raise CheckpointError(_damaged(folder, f"{missing.filename} is missing")) from None
    except (ValueError, KeyError) as error:
        raise CheckpointError(_damaged(folder, f"{MARKER} cannot be read ({error})")) from None
    if not whole:
        raise CheckpointError(_damaged(folder, f"{file.name} is not as it was written (size or checksum)"))
    sweep(folder, keep=file.name)
    return load_file(file), marker


def sweep(folder: Path, keep: str) -> None:
    """Remove every file of tensors but the one named."""
    for file in folder.glob(TENSORS):
        if file.name != keep:
            file.unlink()


def _damaged(folder: Path, what: str) -> str:
    return f"{folder} is damaged: {what}.\n  fix:   delete {folder.parent} and train it anew"


def _crc32(file: Path) -> int:
    value = 0
    with file.open("rb") as stream:
        while block := stream.read(1 << 22):
            value = zlib.crc32(block, value)
    return value
