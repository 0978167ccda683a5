"""Which sites an SAE reads and writes, and in which unit: a crosscoder is an SAE of any variant on several at once.

    rows of the SAE = [s_1 x_1 | s_2 x_2 | ...],    s_i = sqrt(d_i) / mean |x_i - mean of x_i|

x_i is the activation at site i. Every site is normalised by itself, so that a layer with long rows has no more say than
one with short ones; the norms of a feature's decoder at two sites can be compared for the same reason. A checkpoint
keeps these units and names sites and scales in its metadata; `join` and `split` lead there from raw activations and
back, site by site. An SAE of one site reads and writes raw activations: its scale is 1.

A decoder row has length 1 over all sites together. Lindsey et al. weigh a feature in their L1 penalty by the sum of its
norms at the sites; ours is the other form they discuss, its norm over all of them, which is what an SAE on the
concatenation has.

Lindsey et al. 2024, "Sparse crosscoders for cross-layer features and model diffing".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.errors import CheckpointError

READ, WRITTEN = "sites", "sites_out"  # keys of a checkpoint's metadata, there when they are several


@dataclass(frozen=True)
class Part:
    """One site: its canonical name, the width of its rows, and what an SAE's rows are a multiple of."""

    name: str
    d: int
    scale: float = 1.0


@dataclass(frozen=True)
class Sites:
    """The sites that make up a row of an SAE, in their order."""

    parts: tuple[Part, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(part.name for part in self.parts)

    @property
    def widths(self) -> list[int]:
        return [part.d for part in self.parts]

    @property
    def d(self) -> int:
        """Width of the SAE's row."""
        return sum(self.widths)

    @property
    def label(self) -> str:
        """For people."""
        return " + ".join(self.names)

    def join(self, rows: Mapping[str, Float[Tensor, "*rows _"]]) -> Float[Tensor, "*rows d"]:
        """Raw rows of every site to rows of the SAE."""
        if len(self.parts) == 1:
            return rows[self.parts[0].name]
        return torch.cat([rows[part.name].float() * part.scale for part in self.parts], dim=-1)

    def cut(self, rows: Float[Tensor, "*rows d"]) -> dict[str, Float[Tensor, "*rows _"]]:
        """Each site's share of the SAE's rows, in the SAE's units."""
        return dict(zip(self.names, rows.split(self.widths, dim=-1), strict=True))

    def split(self, rows: Float[Tensor, "*rows d"]) -> dict[str, Float[Tensor, "*rows _"]]:
        """Rows of the SAE to raw rows of every site: undoes `join`. Decoder rows become directions in the model."""
        return {part.name: own / part.scale for part, own in zip(self.parts, self.cut(rows).values(), strict=True)}

    def places(self) -> dict[str, slice]:
        """Where each site stands in the SAE's rows."""
        ends = accumulate(self.widths)
        return {part.name: slice(end - part.d, end) for part, end in zip(self.parts, ends, strict=True)}

    def to_json(self) -> list[dict[str, Any]]:
        """As metadata hold it."""
        return [{"name": part.name, "d": part.d, "scale": part.scale} for part in self.parts]


def sites_read(metadata: Mapping[str, Any], d_in: int) -> Sites:
    """What an SAE with this metadata reads. Raises CheckpointError when it names no site."""
    return _sites(metadata, READ, "hook_name", d_in)


def sites_written(metadata: Mapping[str, Any], d_in: int, d_out: int) -> Sites:
    """What it writes: what it reads, but for a transcoder."""
    if WRITTEN not in metadata and not metadata.get("hook_name_out"):
        return sites_read(metadata, d_in)
    return _sites(metadata, WRITTEN, "hook_name_out", d_out)


def one_site(metadata: Mapping[str, Any]) -> tuple[str, str]:
    """(the site read, the site written). Raises CheckpointError for an SAE that names none, or several."""
    read = metadata.get("hook_name")
    written = metadata.get("hook_name_out") or read
    if not read:
        raise CheckpointError("this SAE's cfg.json names no site (metadata.hook_name): nobody knows where it belongs")
    if isinstance(read, str) and isinstance(written, str):
        return read, written
    named = " + ".join(dict.fromkeys([*as_names(read), *as_names(written or read)]))
    raise CheckpointError(
        f"this SAE is a crosscoder of several sites, {named}; this command reads and changes one site.\n"
        "  fix:   its figures per site stand in training.json; `saelab index`, `show`, `search` and the app take it as "
        "it is"
    )


def as_names(stated: str | Sequence[str]) -> list[str]:
    """One name or several, as a list."""
    return [stated] if isinstance(stated, str) else list(stated)


def _sites(metadata: Mapping[str, Any], several: str, one: str, d: int) -> Sites:
    if metadata.get(several):
        return Sites(tuple(Part(str(part["name"]), int(part["d"]), float(part["scale"])) for part in metadata[several]))
    if not metadata.get(one):
        raise CheckpointError(f"this SAE's cfg.json names no site (metadata.{one}): nobody knows where it belongs")
    return Sites((Part(str(metadata[one]), d),))
