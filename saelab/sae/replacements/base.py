"""What replaces layers of the model rather than describe the rows of a site: trained as an SAE is, used differently.

A replacement is an SAE as far as training, held-out figures and checkpoints go: it has a sparse code, a reproduction
and loss terms. It is none where an SAE's matrices or single rows are asked for: steering, ablation and the index read
one row at a time and write W_dec. `SAE.load` therefore refuses it; `Replacement.load` reads it.
"""

from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from saelab.sae.base import SAE


class Replacement(SAE):
    """Base of every replacement, whose weights are all its own."""

    has_encoder = False
    # Why it cannot stand where an SAE is asked for, behind "it".
    differs: ClassVar[str]
    # Whether its features are written by one W_dec.
    one_decoder: ClassVar[bool] = True

    @property
    def architecture(self) -> str:
        """Its own name: SAELens has no such kind, and refuses it."""
        return self.cfg.variant

    def counted(self, rows: int) -> Bool[Tensor, "rows"]:
        """Which of `rows` consecutive rows it answers for; figures are of these."""
        return torch.ones(rows, dtype=torch.bool, device=next(self.parameters()).device)

    def exported(self) -> dict[str, Tensor]:
        """Every parameter under its own name."""
        return {name: parameter.detach() for name, parameter in self.named_parameters()}

    @classmethod
    def load(cls, folder: Path | str, device: str = "cpu") -> "SAE":
        """Read a checkpoint, of whatever variant or replacement, in evaluation mode. Raises CheckpointError."""
        from saelab.sae import MODELS, checkpoint

        return checkpoint.load(Path(folder), device, MODELS)


def parameter(*shape: int, scale: float = 1.0, generator: torch.Generator | None = None) -> nn.Parameter:
    """Normal numbers of standard deviation `scale`."""
    return nn.Parameter(scale * torch.randn(*shape, generator=generator))


def settings_with(values: Any, defaults: dict[str, Any]) -> Any:
    """`values` with what was not stated; for validators that run before all others."""
    return {**defaults, **values} if isinstance(values, dict) else values
