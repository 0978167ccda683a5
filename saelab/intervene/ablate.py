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
    *,
    mode: str = "zero",
    means: Float[Tensor, "features"] | None = None,
    position: int | None = None,
    top: int = 5,
) -> Ablation:
    """Ablate `features` together, at every position or at one; "mean" needs `means[j]` of each `features[j]`.

    Clean and ablated are two rows of one batch, so that nothing but the ablation tells them apart.
    """
    request = _Request(lm, sae, checked_features(sae, features), ids, _where(lm, ids, position))
    target = _target(sae, request.features, mode, means)
    f, direct = request.direct(target)
    return Ablation(
        site=sites(sae)[0],
        features=tuple(request.features),
        mode=mode,
        position=position,
        ids=tuple(ids.tolist()),
        tokens=tuple(lm.token_strings(ids.tolist())),
        activations=tuple(tuple(row) for row in f.tolist()),
        full=_effect(lm, ids, request.full(target), top),
        direct=_effect(lm, ids, direct, top),
    )


@dataclass(frozen=True, eq=False)
class _Request:
    """Which features are changed in which text, and where."""

    lm: LanguageModel
    sae: SAE
    features: list[int]
    ids: Int[Tensor, "tokens"]
    where: Where

    def full(self, target: Float[Tensor, "n"]) -> Float[Tensor, "two tokens vocab"]:
        """Logits of the model as it is and with f_new = `target`."""
        edits = feature_edits(self.sae, self.features, lambda f: target - f, self.where, by_row=_second_row)
        with self.lm.edited(edits):
            return self.lm.logits(self.ids.expand(2, -1))

    @torch.inference_mode()
    def direct(self, target: Float[Tensor, "n"]) -> tuple[Float[Tensor, "tokens n"], Float[Tensor, "two tokens vocab"]]:
        """f, and the logits of the last residual as it is and with the features' own part of it changed."""
        read, write = sites(self.sae)
        last = f"blocks.{self.lm.n_layers - 1}.hook_resid_post"
        acts = self.lm.activations(self.ids.unsqueeze(0), sorted({read, last}))
        f = activations(self.sae, acts[read], torch.tensor(self.features, device=self.sae.W_dec.device))
        directions = self.lm.output_direction(write, self.sae.W_dec[self.features])  # [n, d_model]
        change = (target - f) * self.where(torch.arange(len(self.ids), device=f.device))  # [1, tokens, n]
        residual = acts[last].float()
        moved = residual + (change @ directions.to(change)).to(residual)
        return f[0], self.lm.final_logits(torch.cat([residual, moved]))


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


def _effect(
    lm: LanguageModel, ids: Int[Tensor, "tokens"], logits: Float[Tensor, "two tokens vocab"], top: int
) -> Effect:
    clean, ablated = logits
    change = ablated - clean
    logprob = ablated.log_softmax(dim=-1) - clean.log_softmax(dim=-1)
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
