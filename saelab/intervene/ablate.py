"""Ablation: take features away and see what the model misses.

    zero           f_new = 0
    mean           f_new = the feature's mean activation over all tokens of its index
    firing-mean    f_new = its mean over the tokens on which it fires
    resample       f_new(t) = its activation on a token of another text, drawn for each t; the same one for all features

with x' = x + sum_i (f_new_i - f_i) W_dec[i] (see `delta`), so the SAE's reconstruction error stays. It may be dropped:
then the site holds x_hat + sum_i (f_new_i - f_i) W_dec[i], and what the ablation is compared to, the reference, is not
the model as it is, but the model that reads x_hat; what that alone costs is `splice_kl`.

Two effects, side by side, each as the change from the reference (ablated - reference) at every position:

    full      the model runs again from the site on: everything downstream reacts
    direct    only the last residual changes, by the sum carried along the residual stream:
              logits = unembed(final_norm(r + sum_i (f_new_i - f_i) d_i)), with d_i what row i of W_dec writes there;
              the final norm's scale is that of the changed residual (not frozen)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saelab.errors import InterventionError
from saelab.intervene.delta import activations, checked_features, sites
from saelab.intervene.text import check_length, checked_position, counted
from saelab.lm import Edit, LanguageModel
from saelab.metrics import kl_divergence
from saelab.sae import SAE

MODES = ("zero", "mean", "firing-mean", "resample")


@dataclass(frozen=True)
class TokenChange:
    """A token whose logit an ablation moved, and by how much."""

    token: str
    id: int
    logit: float


@dataclass(frozen=True)
class Effect:
    """What an ablation changes at each position: ablated minus reference. The last position has no next token."""

    logit: tuple[float | None, ...]  # of the token that comes next in the text, or of the one that was named
    loss: tuple[float | None, ...]  # nats, of the token that comes next
    kl: tuple[float, ...]  # KL(reference || ablated), nats
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
    target: str | None  # the token whose logit is followed; None: at each position the one that comes next
    error_kept: bool
    splice_kl: tuple[float, ...]  # KL(model as it is || reference), nats; 0 where the error is kept
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
    source: Int[Tensor, "others"] | None = None,
    seed: int = 0,
    position: int | None = None,
    target: int | None = None,
    keep_error: bool = True,
    top: int = 5,
) -> Ablation:
    """Ablate `features` together, at every position or at one.

    The two means need `means[j]` of each `features[j]`; "resample" needs the ids of another text, `source`, and draws
    by `seed`. `target` is the token whose logit is followed. Reference and ablated are two rows of one batch, so that
    nothing but the ablation tells them apart. Raises InterventionError for a text that the model cannot read at once.
    """
    check_length(lm, len(ids))
    with lm.lock:
        request = _Request(lm, sae, checked_features(sae, features), ids, _where(lm, ids, position), keep_error)
        new = _new(request, mode, means, source, seed)
        full, direct = request.full(new), request.direct(new)
        clean = lm.logits(ids.unsqueeze(0))[0] if not keep_error else full[0]
    return Ablation(
        site=request.read,
        features=tuple(request.features),
        mode=mode,
        position=position,
        ids=tuple(ids.tolist()),
        tokens=tuple(lm.token_strings(ids.tolist())),
        target=None if target is None else lm.token_strings([target])[0],
        error_kept=keep_error,
        splice_kl=tuple(kl_divergence(clean, full[0]).tolist()),
        activations=tuple(tuple(row) for row in request.f.tolist()),
        full=_effect(lm, ids, full, top, target),
        direct=_effect(lm, ids, direct, top, target),
    )


class _Request:
    """Which features are changed in which text and where; what they are there, and what the reference adds."""

    def __init__(
        self,
        lm: LanguageModel,
        sae: SAE,
        features: list[int],
        ids: Int[Tensor, "tokens"],
        where: Bool[Tensor, "tokens"],
        keep_error: bool,
    ) -> None:
        self.lm, self.sae, self.features, self.ids, self.where = lm, sae, features, ids.unsqueeze(0), where
        self.chosen = torch.tensor(features, device=sae.W_dec.device)
        self.read, self.write = sites(sae)
        acts = lm.activations(self.ids, sorted({self.read, self.write}))
        self.f = self.firing(acts[self.read])
        self.base = torch.zeros_like(acts[self.write][0], dtype=torch.float32)
        if not keep_error:
            self.base = self._dropped(acts[self.read][0], acts[self.write][0]) * counted(lm, ids).unsqueeze(1)

    @torch.no_grad()
    def firing(self, x: Float[Tensor, "1 tokens d"]) -> Float[Tensor, "tokens n"]:
        """f of the chosen features."""
        return activations(self.sae, x, self.chosen)[0]

    @torch.no_grad()
    def _dropped(self, x: Float[Tensor, "tokens d"], y: Float[Tensor, "tokens d_out"]) -> Float[Tensor, "tokens d_out"]:
        """x_hat - x: what puts the reproduction in the place of what was there."""
        self.sae.require_rows("dropping the error")
        rows = x.to(self.sae.W_enc)
        return (self.sae.decode_sparse(self.sae.encode_sparse(rows), rows).to(y) - y).float()

    def _change(self, new: Float[Tensor, "tokens n"]) -> Float[Tensor, "tokens n"]:
        return (new - self.f) * self.where.to(self.f.device).unsqueeze(1)

    def _adding(self, rows: Float[Tensor, "rows tokens d"]) -> dict[str, Edit]:
        return {self.write: lambda y, start: y + rows.to(y)}

    @torch.no_grad()
    def full(self, new: Float[Tensor, "tokens n"]) -> Float[Tensor, "two tokens vocab"]:
        """Logits of the reference and with f_new = `new`."""
        written = (self._change(new) @ self.sae.W_dec[self.chosen]).to(self.base)
        with self.lm.edited(self._adding(torch.stack([self.base, self.base + written]))):
            return self.lm.logits(self.ids.expand(2, -1))

    @torch.inference_mode()
    def direct(self, new: Float[Tensor, "tokens n"]) -> Float[Tensor, "two tokens vocab"]:
        """Logits of the reference's last residual as it is and with the features' own part of it changed."""
        last = f"blocks.{self.lm.n_layers - 1}.hook_resid_post"
        with self.lm.edited(self._adding(self.base.unsqueeze(0))):
            residual = self.lm.activations(self.ids, [last])[last].float()
        directions = self.lm.output_direction(self.write, self.sae.W_dec[self.chosen])  # [n, d_model]
        change = self._change(new)
        return self.lm.final_logits(torch.cat([residual, residual + (change @ directions.to(change)).to(residual)]))


def _new(
    request: _Request,
    mode: str,
    means: Float[Tensor, "n"] | None,
    source: Int[Tensor, "others"] | None,
    seed: int,
) -> Float[Tensor, "tokens m"]:
    """f_new of each feature at each position."""
    if mode not in MODES:
        raise InterventionError(f"there is no ablation {mode!r}: use {', '.join(MODES)}")
    if mode == "resample":
        return _resampled(request, source, seed)
    values = torch.zeros(len(request.features)) if mode == "zero" else _given(request.features, means)
    return values.to(request.f).expand_as(request.f)


def _given(features: list[int], means: Float[Tensor, "n"] | None) -> Float[Tensor, "n"]:
    if means is None or len(means) != len(features):
        given = "none were given" if means is None else f"{len(means)} were given"
        raise InterventionError(f"mean ablation of {len(features)} features needs as many mean activations; {given}")
    return means


def _resampled(request: _Request, source: Int[Tensor, "others"] | None, seed: int) -> Float[Tensor, "tokens n"]:
    """Activations of tokens of `source`, one drawn for each position."""
    if source is None:
        raise InterventionError("resample ablation takes activations from another text: give one")
    check_length(request.lm, len(source))
    places = counted(request.lm, source).nonzero().flatten().cpu()
    if not len(places):
        raise InterventionError("the other text has no tokens to take activations from: type some")
    drawn = torch.randint(len(places), (len(request.f),), generator=torch.Generator().manual_seed(seed))
    x = request.lm.activations(source.unsqueeze(0), [request.read])[request.read]
    return request.firing(x)[places[drawn].to(request.f.device)]


def _where(lm: LanguageModel, ids: Int[Tensor, "tokens"], position: int | None) -> Bool[Tensor, "tokens"]:
    if position is None:
        return counted(lm, ids)
    return torch.arange(len(ids), device=ids.device) == checked_position(ids, position)


def _effect(
    lm: LanguageModel,
    ids: Int[Tensor, "tokens"],
    logits: Float[Tensor, "two tokens vocab"],
    top: int,
    target: int | None,
) -> Effect:
    reference, ablated = logits
    change = ablated - reference
    logprob = ablated.log_softmax(dim=-1) - reference.log_softmax(dim=-1)
    following = ids[1:].to(change.device).unsqueeze(-1)
    moved = change[:-1].gather(1, following).squeeze(1).tolist()
    return Effect(
        logit=(*moved, None) if target is None else tuple(change[:, target].tolist()),
        loss=(*(-logprob[:-1].gather(1, following)).squeeze(1).tolist(), None),
        kl=tuple(kl_divergence(reference, ablated).tolist()),
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
