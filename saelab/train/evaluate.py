"""How good an SAE is on rows it was not trained on."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.metrics import Reconstruction, dead_share
from saelab.sae import SAE


@dataclass(frozen=True)
class Figures:
    """On held-out rows, in raw units, of the SAE as a checkpoint holds it (see saelab.metrics)."""

    rows: int
    fvu: float
    cosine: float
    l0: float  # mean over rows of the features above zero
    dead_share: float  # share of features that fire on none of these rows: an upper bound for few rows


@torch.no_grad()
def evaluate(sae: SAE, x: Float[Tensor, "rows d_in"], y: Float[Tensor, "rows d_out"], batch: int) -> Figures:
    """Figures of `sae`, which reads and writes raw units, in batches of `batch` rows."""
    sample, active = Reconstruction(), 0
    fired = torch.zeros(sae.cfg.d_sae, dtype=torch.int64, device=x.device)
    for some, wanted in zip(x.split(batch), y.split(batch), strict=True):
        codes = sae.encode_sparse(some)
        sample.add(wanted, sae.decode_sparse(codes, some))
        on = codes.idx[codes.mask & (codes.val > 0)]
        fired += torch.bincount(on.long(), minlength=len(fired))
        active += len(on)
    return Figures(sample.rows, sample.fvu, sample.cosine, active / sample.rows, dead_share(fired))
