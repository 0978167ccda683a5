"""Whether what the index keeps of an example is what the model does now.

stored   as the index keeps it, in half precision
again    the SAE on the store's row: differs by the rounding of half precision
live     the SAE on the language model's activation, the context run once more: differs by the store's rounding too
"""

from dataclasses import dataclass

import numpy as np
import torch

from saelab.errors import FeatureIndexError
from saelab.features.index import Index
from saelab.features.indexing.codes import active
from saelab.features.sampled import Rows
from saelab.lm import LanguageModel
from saelab.sae import SAE
from saelab.sae.sites import sites_read
from saelab.store import Store

CLOSE = 0.02  # of the feature's maximum: rows are stored with 8 bits, and their errors add up


@dataclass(frozen=True)
class Recheck:
    """One activation three times, and the feature's maximum, against which differences are judged."""

    feature: int
    row: int
    stored: float
    again: float
    live: float
    maximum: float

    @property
    def agrees(self) -> bool:
        """Whether both lie within 2 % of the feature's maximum of what is stored."""
        return max(abs(self.again - self.stored), abs(self.live - self.stored)) <= CLOSE * self.maximum


@torch.inference_mode()
def recheck(index: Index, store: Store, lm: LanguageModel, sae: SAE, rows: Rows, feature: int, row: int) -> Recheck:
    """The activation of `feature` on `row` of the index's split, three times.

    Raises FeatureIndexError when the context cannot be put together again, as special tokens are not in the store.
    """
    firing = index.firing_of(feature)
    here = np.flatnonzero(firing.rows == row)
    split = str(index.facts["settings"]["split"])
    sites = sites_read(sae.metadata, sae.cfg.d_in)
    kept = sites.join({name: store.read(name, split, row, row + 1) for name in sites.names})
    ids = torch.tensor([context_of(rows, row, lm.bos)], device=lm.device)
    run = sites.join(lm.activations(ids, sites.names))[0, -1:]
    return Recheck(
        feature=feature,
        row=row,
        stored=float(firing.acts[here[0]]) if len(here) else 0.0,
        again=_activation(sae, kept, feature),
        live=_activation(sae, run, feature),
        maximum=float(firing.acts.max(initial=0.0)),
    )


def context_of(rows: Rows, row: int, bos: int | None) -> list[int]:
    """The tokens that the model read up to `row`: a BOS before every document, as harvesting put it."""
    same = np.flatnonzero(rows.ctx[: row + 1] == rows.ctx[row])
    first = int(same[0])
    ids: list[int] = []
    for at in range(first, row + 1):
        new = at == first or bool(rows.doc[at] != rows.doc[at - 1])
        if not new and rows.pos[at] != rows.pos[at - 1] + 1:
            raise FeatureIndexError(
                f"row {row} cannot be checked: its context holds special tokens, which the store leaves out"
            )
        ids += [bos] if new and bos is not None else []
        ids.append(int(rows.token[at]))
    return ids


def _activation(sae: SAE, rows: torch.Tensor, feature: int) -> float:
    codes = sae.encode_sparse(rows.to(sae.W_enc.device, torch.float32))
    _, features, acts = active(codes)
    return next((act for number, act in zip(features.tolist(), acts.tolist(), strict=True) if number == feature), 0.0)
