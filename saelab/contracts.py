"""What rooms hand to each other: sites, batches of rows, sparse codes, progress."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saelab.errors import SiteError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # what runs, sites, recipes and imported SAEs may be called
# Short name -> the part of a canonical site after "blocks.{layer}."
SITE_KINDS: dict[str, str] = {
    "resid_pre": "hook_resid_pre",
    "resid_mid": "hook_resid_mid",
    "resid_post": "hook_resid_post",
    "attn_in": "attn.hook_in",
    "attn_out": "hook_attn_out",
    "attn_z": "attn.hook_z",
    "mlp_in": "mlp.hook_in",
    "mlp_out": "hook_mlp_out",
}


def canonical_site(text: str) -> str:
    """`resid_post.8` -> `blocks.8.hook_resid_post`; a canonical name stays as it is. Raises SiteError otherwise."""
    short = re.fullmatch(r"(\w+)\.(\d+)", text)
    if short and short[1] in SITE_KINDS:
        return f"blocks.{int(short[2])}.{SITE_KINDS[short[1]]}"
    full = re.fullmatch(r"blocks\.(\d+)\.(.+)", text)
    if full and full[2] in SITE_KINDS.values():
        return text
    raise SiteError(
        f"{text!r} is not a site. Write KIND.LAYER, as in resid_post.8, with KIND one of: {', '.join(SITE_KINDS)}."
    )


@runtime_checkable
class Progress(Protocol):
    """Where long work tells how far it is. The CLI draws it; a notebook may pass its own or none."""

    def start(self, what: str, total: int, unit: str) -> None:
        """Begin a stage of `total` `unit`s."""

    def advance(self, done: int, **figures: float) -> None:
        """`done` more units are finished; figures (loss, FVU, …) are shown beside the bar."""

    def note(self, text: str) -> None:
        """One line the user should read, once."""


class Silent:
    """A Progress that tells nobody."""

    def start(self, what: str, total: int, unit: str) -> None: ...

    def advance(self, done: int, **figures: float) -> None: ...

    def note(self, text: str) -> None: ...


@dataclass(frozen=True)
class Batch:
    """Rows to train on. `y is x` for an autoencoder; the MLP's output, or another layer, for a transcoder.

    `gradient`, where rows carry it, is that of the language model's loss in y, in the units of y.
    """

    x: Float[Tensor, "batch d_in"]
    y: Float[Tensor, "batch d_out"]
    gradient: Float[Tensor, "batch d_out"] | None = None


@dataclass(frozen=True)
class Codes:
    """The sparse code of a batch: in row b, feature idx[b, j] has activation val[b, j] for j < count[b].

    `idx` ascends within a row. Entries from count[b] on are padding (idx 0, val 0); they are told by `count`,
    never by their value. `count` None means that every row is full. `n` is the number of features.
    """

    idx: Int[Tensor, "batch k"]
    val: Float[Tensor, "batch k"]
    n: int
    count: Int[Tensor, "batch"] | None = None

    @cached_property
    def mask(self) -> Tensor:
        """True where an entry counts, [batch, k]."""
        if self.count is None:
            return torch.ones_like(self.idx, dtype=torch.bool)
        return torch.arange(self.idx.shape[1], device=self.idx.device) < self.count.unsqueeze(1)

    @property
    def l0(self) -> Tensor:
        """Active features of each row, [batch]: entries that count and are above zero."""
        return (self.mask & (self.val > 0)).sum(dim=1)

    def dense(self) -> Float[Tensor, "batch n"]:
        """The same code as a dense tensor. For small batches and for tests."""
        out = torch.zeros(self.idx.shape[0], self.n, dtype=self.val.dtype, device=self.val.device)
        return out.scatter_add(1, self.idx.long(), torch.where(self.mask, self.val, 0.0))
