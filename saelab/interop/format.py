"""What a format is: how its files are told from others, read and written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from saelab.atomic import aside, publish
from saelab.errors import FormatError
from saelab.interop.found import Found
from saelab.sae import SAE

# Variants whose checkpoint gives other libraries something near, not the same.
NOT_EXACT = {"topafa": "how many features a row keeps is found from its length, which no threshold does"}


@dataclass(frozen=True)
class Format:
    """`read` gives every SAE at a path, `write` puts named SAEs into an empty folder and says what it converted."""

    looks_for: str  # the files by which a path is told to be of this format
    detect: Callable[[Path], bool]
    read: Callable[[Path], list[Found]]
    write: Callable[[dict[str, SAE], Path], list[str]] | None = None
    several: bool = False  # whether one folder holds more than one SAE


def cannot(sae: SAE, name: str, why: str) -> FormatError:
    """The refusal to write an SAE of a kind that the format cannot hold exactly."""
    kind = f"{sae.cfg.variant}{' transcoder' if sae.cfg.transcoder else ''}{' with a skip' if sae.cfg.skip else ''}"
    return FormatError(
        f"a {kind} cannot be written as {name}: {why}. Codes or reproductions would be others, so nothing is written."
    )


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file that is there whole or not at all."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with aside(path) as tmp:
        save_file(plain, tmp, metadata={"format": "pt"})
        publish(tmp, path)


def save_pt(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """The same as a file of torch.save, for libraries that read no other."""
    with aside(path) as tmp:
        torch.save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, tmp)
        publish(tmp, path)
