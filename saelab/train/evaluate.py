"""How good an SAE is on rows it was not trained on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.metrics import Reconstruction, dead_share
from saelab.sae import SAE, Replacement


@dataclass(frozen=True)
class Figures:
    """On held-out rows, in raw units, of the SAE as a checkpoint holds it (see saelab.metrics).

    None where the variant reproduces no rows: its code is then dense as well, and what there is to say is in `own`.
    """

    rows: int
    fvu: float | None = None
    cosine: float | None = None
    l0: float | None = None  # mean over rows of the features that are not zero
    dead_share: float | None = None  # share of features that fire on none of these rows: an upper bound for few rows
    own: dict[str, float] = field(default_factory=dict)  # what the variant has to say beyond these


@torch.no_grad()
def evaluate(
    sae: SAE,
    x: Float[Tensor, "rows d_in"],
    y: Float[Tensor, "rows d_out"],
    batch: int,
    places: Mapping[str, slice] | None = None,
) -> Figures:
    """Figures of `sae`, which reads and writes raw units, in batches of `batch` rows.

    With `places`, where in a row each of several sites stands, `own` holds the FVU at each of them.
    """
    own = sae.own_figures(x, batch)
    if not sae.reproduces_rows:
        return Figures(len(x), own=own)
    sample, active = Reconstruction(), 0
    by_site = {site: Reconstruction() for site in places or {}}
    fired = torch.zeros(sae.cfg.d_sae, dtype=torch.int64, device=x.device)
    for some, wanted in zip(x.split(batch), y.split(batch), strict=True):
        codes = sae.encode_sparse(some)
        kept = sae.counted(len(some)) if isinstance(sae, Replacement) else slice(None)
        wanted_here, made = wanted[kept], sae.decode_sparse(codes, some)[kept]
        sample.add(wanted_here, made)
        for site, place in (places or {}).items():
            by_site[site].add(wanted_here[:, place], made[:, place])
        on = codes.idx[kept][(codes.mask & (codes.val != 0))[kept]]
        fired += torch.bincount(on.long(), minlength=len(fired))
        active += len(on)
    own |= {f"FVU at {site}": part.fvu for site, part in by_site.items()}
    return Figures(sample.rows, sample.fvu, sample.cosine, active / sample.rows, dead_share(fired), own)
