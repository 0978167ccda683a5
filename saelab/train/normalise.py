"""Centre and scale of a site's rows, so that one set of defaults fits every site of every model.

    x' = (x - centre) * scale,   centre = mean of the sample,   scale = sqrt(d) / mean |x - centre|

A checkpoint needs neither: SAE.fold moves both into the weights.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from saelab import sealed
from saelab.contracts import Batch
from saelab.errors import CheckpointError
from saelab.train.data import RowSource

SAMPLE = 16_384  # rows; the mean of a coordinate is then known to 1/128 of its deviation
CACHE = "state/normalisation.json"


@dataclass(eq=False)
class Normalisation:
    """Centre and scale of what an SAE reads, and of what it writes (the same for an autoencoder)."""

    centre: Float[Tensor, "d_in"]
    scale: float
    target_centre: Float[Tensor, "d_out"]
    target_scale: float

    @classmethod
    def of(cls, x: Float[Tensor, "rows d_in"], y: Float[Tensor, "rows d_out"]) -> "Normalisation":
        """The normalisation of these rows, summed in fp64."""
        return cls(*_centre_and_scale(x), *_centre_and_scale(y))

    def batch(self, x: Tensor, y: Tensor, gradient: Tensor | None = None) -> Batch:
        """Rows as stored, [batch, d], to a batch on the device, in fp32 and normalised. `y is x` stays so.

        `gradient` is one in y; in y' = (y - c) s it is gradient / s.
        """
        read = (x.to(self.centre.device).float() - self.centre) * self.scale
        slope = None if gradient is None else gradient.to(self.centre.device).float() / self.target_scale
        if y is x:
            return Batch(read, read, slope)
        return Batch(read, (y.to(self.centre.device).float() - self.target_centre) * self.target_scale, slope)


def _centre_and_scale(rows: Float[Tensor, "rows d"]) -> tuple[Tensor, float]:
    rows = rows.double()
    centre = rows.mean(dim=0)
    spread = (rows - centre).norm(dim=1).mean().item()
    return centre.float(), rows.shape[1] ** 0.5 / spread if spread > 0 else 1.0


def normalisation_of(source: RowSource, sites: Sequence[str], folders: Sequence[Path], device: str) -> Normalisation:
    """The normalisation of these sites; each folder keeps it, so that a resumed run reads it instead."""
    kept = next((folder / CACHE for folder in folders if (folder / CACHE).is_file()), None)
    if kept is None:
        rows = source.sample(sites, SAMPLE)
        found = Normalisation.of(rows[sites[0]], rows[sites[-1]])
    else:
        found = _read(kept)
    for folder in folders:
        if not (folder / CACHE).is_file():
            sealed.write(folder / CACHE, _plain(found))
    return replace(found, centre=found.centre.to(device), target_centre=found.target_centre.to(device))


def _plain(found: Normalisation) -> dict[str, Any]:
    """Every digit of each number: float32 is exact in JSON."""
    return {name: value.tolist() if isinstance(value, Tensor) else value for name, value in asdict(found).items()}


def _read(path: Path) -> Normalisation:
    try:
        kept = sealed.read(path)
        centre, target_centre = (torch.tensor(kept[name]) for name in ("centre", "target_centre"))
        return Normalisation(centre, float(kept["scale"]), target_centre, float(kept["target_scale"]))
    except (ValueError, KeyError, TypeError) as error:
        folder = path.parent.parent
        raise CheckpointError(f"{path} is damaged: {error}.\n  fix:   delete {folder} and train it anew") from None
