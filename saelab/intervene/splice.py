"""Splice an SAE into the model: what it reproduces goes on, what it does not is gone.

    y' = x_hat        (a transcoder's x_hat, made from what it reads, replaces what it is to reproduce)

`replaced` puts one fixed row there instead: zeros, or the mean row, the two ablations a splice is compared to.
Positions that are not counted (BOS, padding, special tokens) keep what they had.
"""

from jaxtyping import Bool, Float
from torch import Tensor

from saelab.intervene.delta import sites
from saelab.lm import Edit
from saelab.sae import SAE


def spliced(sae: SAE, counted: Bool[Tensor, "batch tokens"]) -> dict[str, Edit]:
    """The edits, by site, that replace the site by the SAE's reproduction where `counted`; for whole passes only."""
    read, write = sites(sae)
    pending: list[Tensor] = []

    def look(x: Tensor, start: int) -> Tensor:
        flat = x.flatten(0, 1).to(sae.W_enc)
        pending[:] = [sae.decode_sparse(sae.encode_sparse(flat), flat).unflatten(0, x.shape[:2])]
        return x

    def replace(y: Tensor, start: int) -> Tensor:
        return pending.pop().to(y).where(counted.to(y.device).unsqueeze(-1), y)

    if read == write:
        return {read: lambda x, start: replace(look(x, start), start)}
    return {read: look, write: replace}


def replaced(site: str, row: Float[Tensor, "d"], counted: Bool[Tensor, "batch tokens"]) -> dict[str, Edit]:
    """The edit that puts `row` at `site` where `counted`."""
    return {site: lambda y, start: row.to(y).where(counted.to(y.device).unsqueeze(-1), y)}
