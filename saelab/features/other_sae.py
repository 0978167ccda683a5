"""Neighbours in another SAE of the same site: the features whose decoder rows point most nearly the same way."""

from collections.abc import Mapping

import torch

from saelab.errors import CheckpointError
from saelab.features.records import Label, Neighbour
from saelab.sae import SAE
from saelab.sae.sites import sites_written


def across(
    sae: SAE, feature: int, other: SAE, labels: Mapping[int, Label] | None = None, most: int = 10
) -> tuple[Neighbour, ...]:
    """The `most` features of `other` nearest to `feature` of `sae` by cosine of decoder rows, nearest first.

    Raises CheckpointError unless both write the same site of the same model.
    """
    here, there = _place(sae), _place(other)
    if here != there:
        raise CheckpointError(
            "decoder rows of different places do not compare.\n"
            f"  this SAE:  {' '.join(map(str, here))}\n  the other: {' '.join(map(str, there))}\n"
            "  fix:       choose an SAE of the same site of the same model"
        )
    with torch.inference_mode():
        row = sae.W_dec[feature].float()
        rows = other.W_dec.float()
        cosine = (rows @ row) / (rows.norm(dim=1) * row.norm()).clamp_min(1e-12)
        found = cosine.topk(min(most, len(cosine)))
    known = labels or {}
    return tuple(
        Neighbour(number, near, known.get(number))
        for near, number in zip(found.values.tolist(), found.indices.tolist(), strict=True)
    )


def _place(sae: SAE) -> tuple[str, str, int]:
    """(model, site written, width)."""
    d_out = sae.cfg.width_out
    return str(sae.metadata.get("model_name")), sites_written(sae.metadata, sae.cfg.d_in, d_out).label, d_out
