"""Attribution: which features a prediction comes from, estimated by gradient and checked by ablation.

With the SAE spliced in, x = sum_i f_i W_dec[i] + b_dec + e, and L the target (see `target`),

    attribution_i = sum_t f_i(t) dL/df_i(t) = sum_t f_i(t) <W_dec[i], dL/dx(t)>,    of the error: sum_t <e(t), dL/dx(t)>
    ablated_i     = L - L with f_i = 0 at every token,                                of the error: with e = 0

both over the tokens that count (no BOS, no special tokens). The error e is a constant: it is put in as the text left
it and takes no part in the gradient, so with it the model computes what it always does. It may be dropped, x = x_hat;
then every number is of the model that reads the reproduction alone, and the error has no row.

The first number is what the second would be if the model were linear from the site on; how far the two agree on the
features that were ablated is told by their correlations. Syed et al. 2023, "Attribution patching outperforms automated
circuit discovery"; Marks et al. 2024, "Sparse feature circuits", section 3.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from saelab.contracts import Codes
from saelab.errors import InterventionError
from saelab.intervene.delta import sites
from saelab.intervene.target import Resolved, Target, resolved
from saelab.intervene.text import check_length, counted
from saelab.lm import Edit, LanguageModel
from saelab.sae import SAE

TOGETHER = 16  # ablations in one pass


@dataclass(frozen=True)
class Attributed:
    """One feature; None stands for the error term. `ablated` is None where that was not measured."""

    feature: int | None
    activation: float  # its largest in the text; of the error, its largest norm
    tokens: int  # on which it fires
    attribution: float
    ablated: float | None
    by_token: tuple[float, ...]  # the attribution, token by token


@dataclass(frozen=True)
class Attribution:
    """A target and what it comes from: the features by falling |attribution|, and the error term."""

    site: str
    tokens: tuple[str, ...]
    target: str
    value: float  # of the target, in the model whose features are ranked
    unedited: float  # of the target, in the model as it is; the same unless the error is dropped
    error_kept: bool
    firing: int  # features that fire in the text
    features: tuple[Attributed, ...]
    error: Attributed | None
    verified: int  # how many of the features were ablated
    pearson: float | None  # of attribution and ablation over those; None where it is not defined
    spearman: float | None

    def table(self) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        """Column names and rows, the error term last."""
        columns = ("feature", "max activation", "tokens", "attribution", "ablated")
        every = [*self.features, *([self.error] if self.error else [])]
        return columns, [
            ("error" if one.feature is None else str(one.feature), one.activation, one.tokens, one.attribution,
             one.ablated)
            for one in every
        ]  # fmt: skip


def attribute(
    lm: LanguageModel,
    sae: SAE,
    ids: Int[Tensor, "tokens"],
    target: Target,
    *,
    keep_error: bool = True,
    verify: int = 20,
    limit: int = 100,
) -> Attribution:
    """Rank the features that fire in a text by what `target` owes them; ablate the first `verify`, report `limit`.

    Raises InterventionError for a text too long, a target that is not in it, or a text in which nothing fires.
    """
    check_length(lm, len(ids))
    if not 0 <= verify <= limit:
        raise InterventionError(f"{verify} features to ablate of {limit} listed: give 0 to {limit}")
    with lm.lock:
        work = _Work(lm, sae, ids, resolved(lm, target, ids), keep_error)
        order = work.ranked()[:limit]
        ablated = work.ablated(order[:verify])
        error = work.error() if keep_error else None
    found = [work.of(feature, ablated.get(feature)) for feature in order]
    pearson, spearman = correlations([(one.attribution, one.ablated) for one in found if one.ablated is not None])
    return Attribution(
        sites(sae)[1], tuple(lm.token_strings(ids)), work.target.described(lm), work.value, work.unedited, keep_error,
        len(work.total), tuple(found), error, len(ablated), pearson, spearman,
    )  # fmt: skip


def correlations(pairs: list[tuple[float, float]]) -> tuple[float | None, float | None]:
    """Pearson's and Spearman's; None for fewer than three pairs, or where one of the two does not vary."""
    if len(pairs) < 3:
        return None, None
    from scipy.stats import rankdata  # takes a second to import, and most who import this room do not need it

    estimated, measured = np.array(pairs).T
    if np.ptp(estimated) == 0 or np.ptp(measured) == 0:
        return None, None
    ranks = np.corrcoef(rankdata(estimated), rankdata(measured))
    return float(np.corrcoef(estimated, measured)[0, 1]), float(ranks[0, 1])


class _Work:
    """One text, one target: the features that fire, the gradient, and the sums by feature."""

    def __init__(
        self, lm: LanguageModel, sae: SAE, ids: Int[Tensor, "tokens"], target: Resolved, keep_error: bool
    ) -> None:
        sae.require_rows("attribution")
        self.lm, self.sae, self.ids, self.target = lm, sae, ids.unsqueeze(0), target
        self.read, self.write = sites(sae)
        self.counts = counted(lm, ids)
        acts = lm.activations(self.ids, sorted({self.read, self.write}))
        self.codes, x_hat = _coded(sae, acts[self.read][0])
        self.residual = (acts[self.write][0].float() - x_hat.to(acts[self.write].device)) * self.counts.unsqueeze(-1)
        self.base = torch.zeros_like(self.residual) if keep_error else -self.residual  # added to what the site holds
        self.gradient = lm.gradient(self.ids, self.write, lambda logits: target(logits).sum(), self._adding(self.base))
        self.value, self.unedited = self._values(self.base), self._values(torch.zeros_like(self.base))
        self.total, self.tokens_of = self._by_feature()

    def _adding(self, change: Float[Tensor, "*rows tokens d"]) -> dict[str, Edit]:
        return {self.write: lambda y, start: y + change.to(y)}

    def _values(self, change: Float[Tensor, "tokens d"]) -> float:
        with self.lm.edited(self._adding(change)):
            return float(self.target(self.lm.logits(self.ids)))

    def _by_feature(self) -> tuple[dict[int, float], dict[int, list[tuple[int, float, float]]]]:
        """Summed attribution of each feature that fires, and its (token, activation, attribution) one by one."""
        W, gradient = self.sae.W_dec.detach(), self.gradient[0].to(self.sae.W_dec)
        found: dict[int, list[tuple[int, float, float]]] = {}
        for token in self.counts.nonzero().flatten().tolist():
            firing = self.codes.mask[token] & (self.codes.val[token] != 0)
            features, f = self.codes.idx[token][firing].long(), self.codes.val[token][firing]
            effects = f * (W[features] @ gradient[token])
            for feature, act, effect in zip(features.tolist(), f.tolist(), effects.tolist(), strict=True):
                found.setdefault(feature, []).append((token, act, effect))
        if not found:
            raise InterventionError("no feature fires in this text, so there is nothing to attribute to")
        return {feature: sum(effect for _, _, effect in places) for feature, places in found.items()}, found

    def ranked(self) -> list[int]:
        """Features by falling |attribution|, equals by number."""
        return sorted(self.total, key=lambda feature: (-abs(self.total[feature]), feature))

    def of(self, feature: int, ablated: float | None) -> Attributed:
        """What is known of a feature that fires."""
        places, by_token = self.tokens_of[feature], [0.0] * len(self.counts)
        for token, _, effect in places:
            by_token[token] = effect
        highest = max(act for _, act, _ in places)
        return Attributed(feature, highest, len(places), self.total[feature], ablated, tuple(by_token))

    def ablated(self, features: list[int]) -> dict[int, float]:
        """L - L without the feature, several of them as rows of one batch."""
        found: dict[int, float] = {}
        for first in range(0, len(features), TOGETHER):
            some = features[first : first + TOGETHER]
            values = self._without(torch.stack([self.base - self._written(feature) for feature in some]))
            found |= dict(zip(some, values, strict=True))
        return found

    def _written(self, feature: int) -> Float[Tensor, "tokens d"]:
        """What a feature writes, token by token."""
        f = torch.zeros(len(self.counts), device=self.base.device)
        for token, act, _ in self.tokens_of[feature]:
            f[token] = act
        return f.unsqueeze(1) * self.sae.W_dec.detach()[feature].to(f)

    def _without(self, changes: Float[Tensor, "rows tokens d"]) -> list[float]:
        """Row 0 has nothing taken away, so that both sides of the difference come from one batch."""
        rows = torch.cat([self.base.unsqueeze(0), changes])
        with self.lm.edited(self._adding(rows)):
            values = self.target(self.lm.logits(self.ids.expand(len(rows), -1)))
        return (values[0] - values[1:]).tolist()

    def error(self) -> Attributed:
        """The error term: all of it, at every token that counts."""
        by_token = (self.residual * self.gradient[0].to(self.residual)).sum(dim=-1)
        (ablated,) = self._without(-self.residual.unsqueeze(0))
        highest = float(self.residual.norm(dim=-1).max())
        return Attributed(None, highest, int(self.counts.sum()), float(by_token.sum()), ablated,
                          tuple(by_token.tolist()))  # fmt: skip


@torch.no_grad()  # not inference_mode: what is made here stands in a graph later
def _coded(sae: SAE, x: Float[Tensor, "tokens d"]) -> tuple[Codes, Float[Tensor, "tokens d_out"]]:
    rows = x.to(sae.W_enc)
    codes = sae.encode_sparse(rows)
    return codes, sae.decode_sparse(codes, rows).float()
