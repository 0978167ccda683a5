"""What a run needs to go on: one file of tensors, and a JSON marker that is replaced last.

A kill leaves the marker of the save before, or of this one; what it does not name is swept away.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from saelab import sealed
from saelab.atomic import aside, publish, require_free
from saelab.errors import CheckpointError

MARKER = "state.json"
TENSORS = "step-*.safetensors*"


def write_state(folder: Path, tensors: Mapping[str, Tensor], step: int, position: Mapping[str, Any]) -> None:
    """Keep `tensors` and `position` as the state after `step` steps; the state before goes only then."""
    folder.mkdir(parents=True, exist_ok=True)
    require_free(folder, sum(tensor.nbytes for tensor in tensors.values()))
    file = folder / f"step-{step:09d}.safetensors"
    with aside(file) as tmp:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, tmp)
        marker = {"format": 1, "step": step, "file": file.name, **sealed.digest(tmp)}
        publish(tmp, file)
    sealed.write(folder / MARKER, {**marker, **position})
    sweep(folder, keep=file.name)


def read_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The tensors and the marker of the last whole save; None when there is none. Raises CheckpointError for damage."""
    marker = _whole(folder)
    if marker is None:
        return None
    sweep(folder, keep=marker["file"])
    return load_file(folder / marker["file"]), marker


def _whole(folder: Path) -> dict[str, Any] | None:
    """The marker of the last save, whose tensors are as they were written; None when there is none."""
    try:
        marker = sealed.read(folder / MARKER)
        file = folder / marker["file"]
        whole = sealed.digest(file) == {key: marker[key] for key in ("bytes", "crc32")}
    except FileNotFoundError as missing:
        if Path(missing.filename).name == MARKER:
            return None
        raise CheckpointError(_damaged(folder, f"{missing.filename} is missing")) from None
    except (ValueError, KeyError) as error:
        raise CheckpointError(_damaged(folder, f"{MARKER} cannot be read ({error})")) from None
    if not whole:
        raise CheckpointError(_damaged(folder, f"{file.name} is not as it was written (size or checksum)"))
    return marker


def problems_of_state(folder: Path) -> list[str]:
    """What is wrong with the last save, one line each; nothing where there is none. Reads, and changes nothing."""
    try:
        _whole(folder)
    except CheckpointError as error:
        return [str(error)]
    return []


def sweep(folder: Path, keep: str) -> None:
    """Remove every file of tensors but the one named."""
    for file in folder.glob(TENSORS):
        if file.name != keep:
            file.unlink()


def _damaged(folder: Path, what: str) -> str:
    return f"{folder} is damaged: {what}.\n  fix:   delete {folder.parent} and train it anew"
