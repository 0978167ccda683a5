"""Ablation: take features away and see what the model misses.

    zero    f_new = 0            mean    f_new = the feature's mean activation

with x' = x + sum_i (f_new_i - f_i) W_dec[i] (see `delta`); the SAE's reconstruction error stays. Two effects, side
by side, each as the change it makes (ablated - clean) at every position:

    full      the model runs again from the site on: everything downstream reacts
    direct    only the last residual changes, by the sum carried along the residual stream:
              logits = unembed(final_norm(r + sum_i (f_new_i - f_i) d_i)), with d_i what row i of W_dec writes there
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saelab.errors import InterventionError
from saelab.intervene.delta import Where, activations, checked_features, everywhere, feature_edits, sites
from saelab.lm import LanguageModel
from saelab.metrics import kl_divergence
from saelab.sae import SAE

MODES = ("zero", "mean")


@dataclass(frozen=True)
class TokenChange:
    """A token whose logit an ablation moved, and by how much."""

    token: str
    id: int
    logit: float


@dataclass(frozen=True)
class Effect:
    """What an ablation changes at each position: ablated minus clean. The last position has no next token."""

    logit: tuple[float | None, ...]  # of the token that comes next in the text
    loss: tuple[float | None, ...]  # nats, of the same token
    kl: tuple[float, ...]  # KL(clean || ablated), nats
    raised: tuple[tuple[TokenChange, ...], ...]  # the tokens whose logits rise most, strongest first
    lowered: tuple[tuple[TokenChange, ...], ...]


@dataclass(frozen=True)
class Ablation:
    """One ablation on one text."""

    site: str
    features: tuple[int, ...]
    mode: str
    position: int | None  # None: every position but BOS and other special tokens
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    activations: tuple[tuple[float, ...], ...]  # [position][feature], before the ablation
    full: Effect
    direct: Effect

    def rows(self) -> list[tuple[str, float, str | None, float | None, float | None, float | None, float]]:
        """Per position: token, summed activation, next token, its Δlogit in full and directly, Δloss and KL in full."""
        following = [*self.tokens[1:], None]
        return [
            (token, sum(self.activations[i]), following[i], self.full.logit[i], self.direct.logit[i],
             self.full.loss[i], self.full.kl[i])
            for i, token in enumerate(self.tokens)
        ]  # fmt: skip


def ablate(
    lm: LanguageModel,
    sae: SAE,
    features: Sequence[int],
    ids: Int[Tensor, "tokens"],
    mode: str = "zero",
    means: Float[Tensor, "features"] | None = None,
    position: int | None = None,
    top: int = 5,
) -> Ablation:
    """Ablate `features` together, at every position or at one. `means[j]`, which "mean" needs, is that of `features[j]`.

    Clean and ablated are two rows of one batch, so that nothing but the ablation tells them apart.
    """
    chosen = checked_features(sae, features)
    target = _target(sae, chosen, mode, means)
    where = _where(lm, ids, position)
    edits = feature_edits(sae, chosen, lambda f: target - f, where, by_row=_second_row)
    with lm.edited(edits):
        clean, ablated = lm.logits(ids.expand(2, -1))
    f, direct_clean, direct_ablated = _direct(lm, sae, chosen, ids, target, where)
    return Ablation(
        site=sites(sae)[0],
        features=tuple(chosen),
        mode=mode,
        position=position,
        ids=tuple(ids.tolist()),
        tokens=tuple(lm.token_strings(ids.tolist())),
        activations=tuple(tuple(row) for row in f.tolist()),
        full=_effect(lm, ids, clean, ablated, top),
        direct=_effect(lm, ids, direct_clean, direct_ablated, top),
    )


def _target(sae: SAE, features: list[int], mode: str, means: Float[Tensor, "n"] | None) -> Float[Tensor, "m"]:
    """f_new of each feature."""
    if mode not in MODES:
        raise InterventionError(f"there is no ablation {mode!r}: use {' or '.join(MODES)}")
    if mode == "zero":
        return torch.zeros(len(features)).to(sae.W_dec)
    if means is None or len(means) != len(features):
        given = "none were given" if means is None else f"{len(means)} were given"
        raise InterventionError(f"mean ablation of {len(features)} features needs as many mean activations; {given}")
    return means.to(sae.W_dec)


def _where(lm: LanguageModel, ids: Int[Tensor, "tokens"], position: int | None) -> Where:
    if position is None:
        special = torch.tensor(sorted(lm.special), dtype=ids.dtype, device=ids.device)
        return everywhere(~torch.isin(ids, special))
    if not 0 <= position < len(ids):
        raise InterventionError(f"there is no position {position}: the text has {len(ids)} tokens, from 0 on")
    return lambda positions: (positions == position).unsqueeze(-1)


def _second_row(delta: Float[Tensor, "two tokens d"]) -> Float[Tensor, "two tokens d"]:
    return torch.cat([torch.zeros_like(delta[:1]), delta[1:]])


@torch.no_grad()
def _direct(
    lm: LanguageModel, sae: SAE, features: list[int], ids: Int[Tensor, "tokens"], target: Tensor, where: Where
) -> tuple[Float[Tensor, "tokens n"], Float[Tensor, "tokens vocab"], Float[Tensor, "tokens vocab"]]:
    """f, and the logits of the last residual without and with the features' direct contribution changed."""
    read, write = sites(sae)
    last = f"blocks.{lm.n_layers - 1}.hook_resid_post"
    acts = lm.activations(ids.unsqueeze(0), [read, last])
    f = activations(sae, acts[read], torch.tensor(features, device=sae.W_dec.device))
    directions = lm.output_direction(write, sae.W_dec[features])  # [features, d_model]
    change = (target - f) * where(torch.arange(len(ids), device=f.device))  # [1, tokens, features]
    residual = acts[last].float()
    moved = residual + (change @ directions.to(change)).to(residual)
    return f[0], lm.final_logits(residual)[0], lm.final_logits(moved)[0]


def _effect(
    lm: LanguageModel,
    ids: Int[Tensor, "tokens"],
    clean: Float[Tensor, "tokens vocab"],
    ablated: Float[Tensor, "tokens vocab"],
    top: int,
) -> Effect:
    change = ablated.float() - clean.float()
    logprob = torch.log_softmax(ablated.float(), dim=-1) - torch.log_softmax(clean.float(), dim=-1)
    following = ids[1:].to(change.device).unsqueeze(-1)
    return Effect(
        logit=(*change[:-1].gather(1, following).squeeze(1).tolist(), None),
        loss=(*(-logprob[:-1].gather(1, following)).squeeze(1).tolist(), None),
        kl=tuple(kl_divergence(clean, ablated).tolist()),
        raised=_strongest(lm, change, top),
        lowered=_strongest(lm, change, top, largest=False),
    )


def _strongest(
    lm: LanguageModel, change: Float[Tensor, "tokens vocab"], top: int, largest: bool = True
) -> tuple[tuple[TokenChange, ...], ...]:
    best = change.topk(min(top, change.shape[-1]), dim=-1, largest=largest)
    return tuple(
        tuple(map(TokenChange, lm.token_strings(tokens), tokens, values))
        for tokens, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )
