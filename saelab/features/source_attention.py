"""Direct feature attribution: which tokens, through which heads, an attention feature's pre-activation comes from.

At the token t at which feature i of an SAE on z is looked at, with w_h the rows of W_enc[:, i] that read head h,

    pre_i(t)   = sum over h, s of A_h(t, s) <v_h(s), w_h>  +  b_enc[i] - <b_dec, W_enc[:, i]>
                 `contribution` of token s through head h     `bias`, where b_dec is taken off what is read

exact: z is linear in the values, and the pre-activation in z. The patterns A are taken as they are; what made a head
look at s is no part of it, nor what a normalisation, a threshold or TopK makes of the pre-activation afterwards.

Kissane et al. 2024, "Interpreting attention layer outputs with sparse autoencoders", section 4.1.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from saelab.contracts import SITE_KINDS
from saelab.errors import FeatureIndexError
from saelab.features.checking import context_of
from saelab.features.sampled import Rows
from saelab.lm import LanguageModel
from saelab.lm.attention import attention
from saelab.lm.sites import layer
from saelab.sae import SAE
from saelab.sae.sites import one_site


@dataclass(frozen=True)
class Source:
    """One token seen through one head; `weight` is the head's attention to it, between 0 and 1."""

    token: int
    head: int
    contribution: float
    weight: float


@dataclass(frozen=True)
class SourceAttention:
    """Where a feature's pre-activation at the last of `tokens` comes from, in units of its activation.

    `contributions[h][s]` is of head h and token s, `weights[h][s]` the head's attention to it. `pre_activation` is what
    the encoder makes of the model's own z, `activation` what becomes of it.
    """

    feature: int
    site: str
    tokens: tuple[str, ...]
    contributions: tuple[tuple[float, ...], ...]
    weights: tuple[tuple[float, ...], ...]
    bias: float
    pre_activation: float
    activation: float

    @property
    def by_head(self) -> tuple[float, ...]:
        """Each head's contributions, summed over the tokens."""
        return tuple(map(sum, self.contributions))

    def by_token(self, head: int | None = None) -> tuple[float, ...]:
        """Each token's contributions, summed over the heads, or through one head."""
        return tuple(map(sum, zip(*self.contributions, strict=True))) if head is None else self.contributions[head]

    @property
    def total(self) -> float:
        """All contributions and the bias: the pre-activation once more."""
        return sum(self.by_head) + self.bias

    def strongest(self, n: int) -> list[Source]:
        """The `n` largest contributions by size, equals in the order of head and token."""
        every = [
            Source(token, head, contribution, self.weights[head][token])
            for head, row in enumerate(self.contributions)
            for token, contribution in enumerate(row)
        ]
        return sorted(every, key=lambda one: -abs(one.contribution))[:n]

    def table(self, n: int = 20) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        """Column names, and the `n` largest contributions."""
        columns = ("position", "token", "head", "contribution", "attention")
        return columns, [
            (one.token, self.tokens[one.token], one.head, one.contribution, one.weight) for one in self.strongest(n)
        ]


def reads_attention(site: str) -> bool:
    """Whether an SAE at this site reads z, which is linear in the values of the tokens before."""
    return site.startswith("blocks.") and site.endswith(SITE_KINDS["attn_z"]) and site.count(".") == 3


@torch.no_grad()
def source_attention(lm: LanguageModel, sae: SAE, ids: Int[Tensor, "tokens"], feature: int) -> SourceAttention:
    """Take the pre-activation of `feature` at the last of `ids` apart.

    Raises FeatureIndexError for an SAE that does not read z, or has no encoder, and for a feature that it has not.
    """
    site = _checked(sae, feature)
    seen = attention(lm, ids, layer(site))
    heads = len(seen.pattern)
    encoder = sae.W_enc[:, feature].double().cpu()
    by_head = encoder.unflatten(0, (heads, -1))  # [heads, d_head]
    weights = seen.pattern[:, -1].double().cpu()  # [heads, tokens]
    contributions = weights * torch.einsum("shd,hd->hs", seen.values.double().cpu(), by_head)
    bias = sae.b_enc[feature].double().cpu()
    if sae.centre is not None:
        bias = bias - sae.centre.double().cpu() @ encoder
    z = seen.z[-1].flatten()
    return SourceAttention(
        feature=feature,
        site=site,
        tokens=tuple(lm.token_strings(ids)),
        contributions=tuple(map(tuple, contributions.tolist())),
        weights=tuple(map(tuple, weights.tolist())),
        bias=float(bias),
        pre_activation=float(z.double().cpu() @ encoder + bias),
        activation=_activation(sae, z, feature),
    )


def sources_of(lm: LanguageModel, sae: SAE, rows: Rows, feature: int, row: int) -> SourceAttention:
    """The same at `row` of the index's rows, after the text that the model read before it.

    Raises FeatureIndexError when that text cannot be put together again, too.
    """
    _checked(sae, feature)
    return source_attention(lm, sae, torch.tensor(context_of(rows, row, lm.bos), device=lm.device), feature)


def _checked(sae: SAE, feature: int) -> str:
    """The site that is read."""
    site, _ = one_site(sae.metadata)
    if not reads_attention(site):
        raise FeatureIndexError(
            f"sources are told apart for SAEs that read attention's z (blocks.N.{SITE_KINDS['attn_z']}); "
            f"this one reads {site}."
        )
    if not sae.has_encoder:
        raise FeatureIndexError(f"a {sae.cfg.variant} SAE has no encoder, so no pre-activation to take apart.")
    if not 0 <= feature < sae.cfg.d_sae:
        raise FeatureIndexError(f"there is no feature {feature}: this SAE has {sae.cfg.d_sae:,}, from 0 on.")
    return site


def _activation(sae: SAE, z: Tensor, feature: int) -> float:
    codes = sae.encode_sparse(z.unsqueeze(0).to(sae.W_enc))
    here = codes.mask & (codes.idx == feature)
    return float(codes.val[here].sum())
