"""Change what chosen features write into the model, and nothing else.

    x' = x + sum_i (v_new_i - v_i) W_dec[i]

where v_i is the feature's activation f_i, or the coefficient of its direction in what stands at the site,

    p_i = <x, W_dec[i]> / |W_dec[i]|^2

Steering and ablation both take this form. What the SAE does not explain, x - x_hat, stays in x', so it can
neither be lost nor bring back what was taken away. For a transcoder f is read at its input, p at its output, and
the sum is written to its output.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saelab.errors import InterventionError
from saelab.lm import Edit
from saelab.sae import SAE
from saelab.sae.sites import one_site

Shift = Callable[[Tensor], Tensor]  # v [batch, tokens, n] -> v_new - v of the n chosen features
Where = Callable[[Tensor], Tensor]  # positions [tokens] -> whether feature j changes there [tokens, n]
ByRow = Callable[[Tensor], Tensor]  # what each row of the batch gets of the sum [batch, tokens, d]
Watch = Callable[[Tensor], None]  # is told f [batch, tokens, n] of every pass, as it is before the change


def sites(sae: SAE) -> tuple[str, str]:
    """Where the SAE reads, and where it writes: elsewhere only as a transcoder. Raises CheckpointError for several."""
    return one_site(sae.metadata)


def checked_features(sae: SAE, features: Sequence[int]) -> list[int]:
    """`features` as a list. Raises InterventionError for none, for one twice, and for one the SAE does not have."""
    chosen = list(features)
    if not chosen:
        raise InterventionError("no feature was named: name at least one")
    for place, feature in enumerate(chosen):
        if not 0 <= feature < sae.cfg.d_sae:
            raise InterventionError(
                f"there is no feature {feature}: this SAE has {sae.cfg.d_sae:,}, from 0 to {sae.cfg.d_sae - 1}"
            )
        if feature in chosen[:place]:
            raise InterventionError(f"feature {feature} was named twice: name each once")
    return chosen


def activations(
    sae: SAE, x: Float[Tensor, "batch tokens d"], features: Int[Tensor, "n"]
) -> Float[Tensor, "batch tokens n"]:
    """f of the chosen features at every position."""
    codes = sae.encode_sparse(x.flatten(0, 1).to(sae.W_enc))
    hit = (codes.idx.unsqueeze(-1) == features.to(codes.idx)) & codes.mask.unsqueeze(-1)  # [rows, k, n]
    return torch.where(hit, codes.val.unsqueeze(-1), 0.0).sum(dim=1).unflatten(0, x.shape[:2])


def projections(W: Float[Tensor, "n d"], y: Float[Tensor, "batch tokens d"]) -> Float[Tensor, "batch tokens n"]:
    """p of each direction: in the unit of the activation that would write it; 0 of a direction without length."""
    return y.to(W) @ W.T / W.pow(2).sum(dim=1).clamp_min(torch.finfo(W.dtype).tiny)


def feature_edits(
    sae: SAE,
    features: Sequence[int],
    shift: Shift,
    where: Where,
    by_row: ByRow = lambda delta: delta,
    *,
    projected: Bool[Tensor, "n"] | None = None,
    watch: Watch = lambda f: None,
) -> dict[str, Edit]:
    """The edits, by site, that make v_new out of v; give them to `LanguageModel.edited`.

    v is f, or p of the features marked in `projected`.
    """
    read, write = sites(sae)
    chosen = torch.tensor(checked_features(sae, features), device=sae.W_dec.device)
    W = sae.W_dec.detach()[chosen]

    def looked(x: Float[Tensor, "batch tokens d"]) -> Float[Tensor, "batch tokens n"]:
        f = activations(sae, x, chosen)
        watch(f)
        return f

    def moved(
        y: Float[Tensor, "batch tokens d_out"], f: Float[Tensor, "batch tokens n"], start: int
    ) -> Float[Tensor, "batch tokens d_out"]:
        v = f if projected is None else torch.where(projected.to(f.device), projections(W, y), f)
        change = shift(v) * where(torch.arange(start, start + y.shape[1], device=W.device))
        return y + by_row(change @ W).to(y)

    if read == write:
        return {read: lambda x, start: moved(x, looked(x), start)}
    return _carried(read, write, looked, moved)


def _carried(
    read: str, write: str, looked: Callable[[Tensor], Tensor], moved: Callable[[Tensor, Tensor, int], Tensor]
) -> dict[str, Edit]:
    """Two edits for a transcoder: the first looks at its input, the second adds to its output."""
    pending: list[Tensor] = []

    def look(x: Tensor, start: int) -> Tensor:
        pending[:] = [looked(x)]
        return x

    def add(y: Tensor, start: int) -> Tensor:
        return moved(y, pending.pop(), start)

    return {read: look, write: add}


def everywhere(counted: Bool[Tensor, "tokens"]) -> Where:
    """At every position but those not counted: BOS and other special tokens, on which no SAE was trained."""
    return lambda positions: at(counted, positions).unsqueeze(-1)


def at(counted: Bool[Tensor, "tokens"], positions: Int[Tensor, "n"]) -> Bool[Tensor, "n"]:
    """`counted` at these positions; positions beyond it (tokens generated since) count."""
    known = positions < len(counted)
    return torch.where(known, counted.to(positions.device)[positions.clamp(max=len(counted) - 1)], True)
