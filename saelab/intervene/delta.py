"""Change what chosen features write into the model, and nothing else.

    x' = x + sum_i (f_new_i - f_i) W_dec[i]

Steering and ablation both take this form. What the SAE does not explain, x - x_hat, stays in x', so it can
neither be lost nor bring back what was taken away. For a transcoder f is read at its input and the sum is
written to its output.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saelab.errors import InterventionError
from saelab.lm import Edit
from saelab.sae import SAE
from saelab.sae.sites import one_site

Shift = Callable[[Tensor], Tensor]  # f [batch, tokens, n] -> f_new - f of the n chosen features
Where = Callable[[Tensor], Tensor]  # positions [tokens] -> whether feature j changes there [tokens, n]
ByRow = Callable[[Tensor], Tensor]  # what each row of the batch gets of the sum [batch, tokens, d]


def sites(sae: SAE) -> tuple[str, str]:
    """Where the SAE reads, and where it writes: elsewhere only as a transcoder. Raises CheckpointError for several."""
    return one_site(sae.metadata)


def checked_features(sae: SAE, features: Sequence[int]) -> list[int]:
    """`features` as a list. Raises InterventionError for none, for one twice, and for one the SAE does not have."""
    chosen = list(features)
    if not chosen:
        raise InterventionError("no feature was named: name at least one")
    for feature in chosen:
        if not 0 <= feature < sae.cfg.d_sae:
            raise InterventionError(
                f"there is no feature {feature}: this SAE has {sae.cfg.d_sae:,}, from 0 to {sae.cfg.d_sae - 1}"
            )
    return chosen


def activations(
    sae: SAE, x: Float[Tensor, "batch tokens d"], features: Int[Tensor, "n"]
) -> Float[Tensor, "batch tokens n"]:
    """f of the chosen features at every position."""
    codes = sae.encode_sparse(x.flatten(0, 1).to(sae.W_enc))
    hit = (codes.idx.unsqueeze(-1) == features.to(codes.idx)) & codes.mask.unsqueeze(-1)  # [rows, k, n]
    return torch.where(hit, codes.val.unsqueeze(-1), 0.0).sum(dim=1).unflatten(0, x.shape[:2])


def feature_edits(
    sae: SAE, features: Sequence[int], shift: Shift, where: Where, by_row: ByRow = lambda delta: delta
) -> dict[str, Edit]:
    """The edits, by site, that make f_new out of f; give them to `LanguageModel.edited`."""
    read, write = sites(sae)
    chosen = torch.tensor(checked_features(sae, features), device=sae.W_dec.device)

    def delta(x: Float[Tensor, "batch tokens d"], start: int) -> Float[Tensor, "batch tokens d_out"]:
        positions = torch.arange(start, start + x.shape[1], device=sae.W_dec.device)
        change = shift(activations(sae, x, chosen)) * where(positions)  # [batch, tokens, n]
        return by_row(change @ sae.W_dec[chosen])

    if read == write:
        return {read: lambda x, start: x + delta(x, start).to(x)}
    return _carried(read, write, delta)


def _carried(read: str, write: str, delta: Callable[[Tensor, int], Tensor]) -> dict[str, Edit]:
    """Two edits for a transcoder: the first looks at its input, the second adds to its output."""
    pending: list[Tensor] = []

    def look(x: Tensor, start: int) -> Tensor:
        pending[:] = [delta(x, start)]
        return x

    def add(y: Tensor, start: int) -> Tensor:
        return y + pending.pop().to(y)

    return {read: look, write: add}


def everywhere(counted: Bool[Tensor, "tokens"]) -> Where:
    """At every position but those not counted: BOS and other special tokens, on which no SAE was trained."""
    return lambda positions: at(counted, positions).unsqueeze(-1)


def at(counted: Bool[Tensor, "tokens"], positions: Int[Tensor, "n"]) -> Bool[Tensor, "n"]:
    """`counted` at these positions; positions beyond it (tokens generated since) count."""
    known = positions < len(counted)
    return torch.where(known, counted.to(positions.device)[positions.clamp(max=len(counted) - 1)], True)
