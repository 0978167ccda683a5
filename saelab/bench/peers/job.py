"""What every worker is to do: one folder with the settings, the rows and the first weights, the same for all."""

import json
from dataclasses import asdict, dataclass, fields
from itertools import accumulate
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

AUX = 1 / 32  # weight of AuxK where a library lets it be set (Gao et al. 2024, appendix A.2)
KILLED = 1 / 16  # share of the features that are made dead at the end, to time AuxK at work
SEED = 0  # of saelab's first weights, which everyone begins with, where none is named
RATE = "rate="  # a setting: all as by default, but this many times the library's own learning rate


@dataclass(frozen=True)
class Job:
    """Settings that all libraries share."""

    variant: str
    d_in: int
    d_sae: int
    k: int
    batch: int
    steps: int  # that will be taken at most, at all batch sizes together
    lr: float
    warmup: int  # steps of rising rate; it is level afterwards
    dead_after: int  # rows without firing after which a feature counts as dead: more than there are
    device: str
    groups: tuple[float, ...] = ()  # of matryoshka: shares of d_sae
    seed: int = SEED  # of the first weights

    @property
    def widths(self) -> list[int]:
        """Features of the first group, of the first two, and so on to all."""
        return [round(end * self.d_sae) for end in accumulate(self.groups)]

    def write(self, folder: Path, tensors: dict[str, Tensor]) -> None:
        """Make the folder's files; `tensors` are those that `tensor` names."""
        (folder / "job.json").write_text(json.dumps(asdict(self)), encoding="utf-8")
        for name, tensor in tensors.items():
            save_file({name: tensor.contiguous()}, folder / f"{name}.safetensors")

    @classmethod
    def read(cls, folder: Path) -> "Job":
        return cls(**json.loads((folder / "job.json").read_text(encoding="utf-8")))


def rate_of(setting: str) -> float:
    """What a library's own learning rate is multiplied by."""
    return float(setting.removeprefix(RATE)) if setting.startswith(RATE) else 1.0


def tensor(folder: Path, name: str, device: str) -> Tensor:
    """`rows` and `heldout` [m, d_in], normalised; `proof` [n, d_in], for gradients; `W_dec` [d_sae, d_in], unit rows.

    The encoder begins as the decoder's transpose, both biases at 0.
    """
    return load_file(folder / f"{name}.safetensors")[name].to(device)


def told(options: Any) -> str:
    """A dataclass of options for people: those that are not at their default."""
    changed = {f.name: getattr(options, f.name) for f in fields(options) if getattr(options, f.name) != f.default}
    return ", ".join(f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}"
                     for name, value in changed.items()) or "as it comes"  # fmt: skip
