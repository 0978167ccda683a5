"""A toy language model that has learnt induction: to find what followed the last time, and say it again.

Two layers of attention and nothing else (Elhage et al. 2021, Olsson et al. 2022), on random tokens that come round
after a period that is random too. Position alone therefore says nothing; only a head of the second layer that attends
from a token to the one behind its last occurrence predicts the text.
"""

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, layer_norm

from saelab.sae.replacements.attention import AttentionWeights, attend

VOCAB, TOKENS, D, HEADS, WIDTH = 64, 48, 64, 4, 16
PERIODS = (8, 20)  # tokens, from and to
STEPS, BATCH, RATE = 600, 32, 3e-3  # it is found after 300 steps


@dataclass(frozen=True)
class Text:
    """Sequences, and from where to where in them an induction head looks."""

    ids: Int[Tensor, "n tokens"]  # VOCAB, the BOS, comes first
    followed: Bool[Tensor, "n tokens tokens"]  # [t, s]: s is behind an earlier occurrence of the token at t


def text(n: int, seed: int) -> Text:
    """`n` sequences of different tokens that come round."""
    draw = torch.Generator().manual_seed(seed)
    period = torch.randint(PERIODS[0], PERIODS[1] + 1, (n, 1), generator=draw)
    tokens = torch.rand(n, VOCAB, generator=draw).argsort(dim=1)
    ids = tokens.gather(1, torch.arange(TOKENS - 1).expand(n, -1) % period)
    ids = torch.cat([torch.full((n, 1), VOCAB), ids], dim=1)
    followed = torch.zeros(n, TOKENS, TOKENS, dtype=torch.bool)
    followed[:, :, 1:] = ids[:, :, None] == ids[:, None, :-1]
    return Text(ids, followed.tril())  # behind the token itself is the future


class Toy(nn.Module):
    """x = embedding + place; twice x += attention(norm(x)); logits = norm(x) unembedding."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)

        def weight(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=draw) * 0.02**0.5 * D**-0.25)

        self.embed, self.place, self.unembed = weight(VOCAB + 1, D), weight(TOKENS, D), weight(D, VOCAB + 1)
        read, write = (HEADS, D, WIDTH), (HEADS, WIDTH, D)
        self.weights = [
            nn.ParameterDict({"W_Q": weight(*read), "W_K": weight(*read), "W_V": weight(*read), "W_O": weight(*write)})
            for _ in range(2)
        ]
        self.layers = nn.ModuleList(self.weights)

    def attention(self, layer: int) -> AttentionWeights:
        """The weights of one layer."""
        own, none = dict(self.weights[layer].items()), torch.zeros(HEADS, WIDTH)
        return AttentionWeights(**own, b_Q=none, b_K=none, b_V=none, b_O=torch.zeros(D))

    def read(self, ids: Int[Tensor, "n tokens"]) -> Float[Tensor, "n tokens d"]:
        """What the second layer's attention reads."""
        return self._normed(self._first(ids))

    def forward(self, ids: Int[Tensor, "n tokens"]) -> Float[Tensor, "n tokens vocab"]:
        x = self._first(ids)
        return self._normed(x + self.attention(1).output(self._normed(x))) @ self.unembed

    def _first(self, ids: Tensor) -> Tensor:
        x = self.embed[ids] + self.place
        return x + self.attention(0).output(self._normed(x))

    @staticmethod
    def _normed(x: Tensor) -> Tensor:
        return layer_norm(x, (D,))


@cache
def toy(seed: int) -> Toy:
    """Trained; the same call is free."""
    model = Toy(seed)
    adam = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    for step in range(STEPS):
        adam.param_groups[0]["lr"] = RATE * min(1.0, (step + 1) / 100, 4 * (STEPS - step) / STEPS)
        ids = text(BATCH, seed * 1_000_003 + step).ids
        cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
        adam.step()
        adam.zero_grad()
    return model.requires_grad_(False)


def patterns(
    x: Float[Tensor, "n tokens d"],
    W_Q: Float[Tensor, "heads d d_qk"],
    b_Q: Float[Tensor, "heads d_qk"],
    W_K: Float[Tensor, "heads d d_qk"],
    b_K: Float[Tensor, "heads d_qk"],
) -> Float[Tensor, "n heads tokens tokens"]:
    """How much each token attends to each before it: what comes out where the values are unit vectors."""
    eye = torch.eye(x.shape[1]).expand(len(x), len(W_Q), -1, -1)
    return attend(x, W_Q, b_Q, W_K, b_K, eye, None)


def prefix_matching(
    pattern: Float[Tensor, "n heads tokens tokens"], followed: Bool[Tensor, "n tokens tokens"]
) -> Float[Tensor, "heads"]:
    """Share of each head's attention that goes behind earlier occurrences, mean over the tokens that have one.

    Olsson et al. 2022, "In-context learning and induction heads": the prefix matching score.
    """
    share = (pattern * followed.unsqueeze(1)).sum(dim=-1)
    return share.transpose(0, 1)[:, followed.any(dim=-1)].mean(dim=1)
