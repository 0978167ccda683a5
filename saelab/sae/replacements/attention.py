"""Causal attention as plain tensors: what Lorsa replaces, what it starts from, and what it is compared with.

    q = x W_Q + b_Q    k = x W_K + b_K    v = x W_V + b_V        per head, q and k rotated where the model rotates them
    y[t] = sum over heads h of (sum over s <= t of A_h[t, s] v_h[s]) W_O_h + b_O,  A_h = softmax(q_h k_h^T / sqrt(d_qk))

Rotary embeddings are Llama's: coordinates j and j + dims/2 turn together, by position * base^(-2j/dims).
Su et al. 2021, "RoFormer"; GPT-NeoX and Llama for the pairing.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


@dataclass(frozen=True)
class Rotary:
    """Which of a head's coordinates turn with the position (None: all), and how fast."""

    base: float = 10_000.0
    dims: int | None = None

    def turned(
        self, heads: Float[Tensor, "batch n_heads tokens d_head"]
    ) -> Float[Tensor, "batch n_heads tokens d_head"]:
        """Queries or keys of tokens 0, 1, 2, ... as they meet each other."""
        dims = self.dims or heads.shape[-1]
        speed = self.base ** (-torch.arange(0, dims, 2, device=heads.device, dtype=heads.dtype) / dims)
        angle = torch.arange(heads.shape[2], device=heads.device, dtype=heads.dtype).unsqueeze(1) * speed
        cos, sin = angle.cos(), angle.sin()  # [tokens, dims / 2]
        a, b, rest = heads.split([dims // 2, dims // 2, heads.shape[-1] - dims], dim=-1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], dim=-1)


@dataclass(frozen=True)
class AttentionWeights:
    """One attention layer. Where queries are grouped, n_keys heads of keys and values serve n_heads / n_keys each."""

    W_Q: Float[Tensor, "n_heads d d_qk"]
    W_K: Float[Tensor, "n_keys d d_qk"]
    W_V: Float[Tensor, "n_keys d d_v"]
    W_O: Float[Tensor, "n_heads d_v d_out"]
    b_Q: Float[Tensor, "n_heads d_qk"]  # noqa: N815
    b_K: Float[Tensor, "n_keys d_qk"]  # noqa: N815
    b_V: Float[Tensor, "n_keys d_v"]  # noqa: N815
    b_O: Float[Tensor, "d_out"]  # noqa: N815
    rotary: Rotary | None = None

    def ungrouped(self) -> "AttentionWeights":
        """The same layer with keys and values repeated, so that every query head has its own."""
        times = len(self.W_Q) // len(self.W_K)
        names = ("W_K", "W_V", "b_K", "b_V")
        return replace(self, **{name: getattr(self, name).repeat_interleave(times, dim=0) for name in names})

    def output(self, x: Float[Tensor, "batch tokens d"]) -> Float[Tensor, "batch tokens d_out"]:
        """What the layer adds to the residual stream."""
        return self.z(x) @ self.W_O.flatten(0, 1) + self.b_O

    def z(self, x: Float[Tensor, "batch tokens d"]) -> Float[Tensor, "batch tokens z"]:
        """What the heads have gathered, one head's d_v numbers behind the other's: the site attn_z."""
        own = self.ungrouped()
        v = torch.einsum("btd,hde->bhte", x, own.W_V) + own.b_V.unsqueeze(1)
        z = attend(x, own.W_Q, own.b_Q, own.W_K, own.b_K, v, own.rotary)
        return z.transpose(1, 2).flatten(2)


def attend(
    x: Float[Tensor, "batch tokens d"],
    W_Q: Float[Tensor, "n_heads d d_qk"],
    b_Q: Float[Tensor, "n_heads d_qk"],
    W_K: Float[Tensor, "n_heads d d_qk"],
    b_K: Float[Tensor, "n_heads d_qk"],
    v: Float[Tensor, "batch n_heads tokens d_v"],
    rotary: Rotary | None,
) -> Float[Tensor, "batch n_heads tokens d_v"]:
    """z_h[t] = sum over s <= t of A_h[t, s] v_h[s]."""
    q = torch.einsum("btd,hde->bhte", x, W_Q) + b_Q.unsqueeze(1)
    k = torch.einsum("btd,hde->bhte", x, W_K) + b_K.unsqueeze(1)
    if rotary is not None:
        q, k = rotary.turned(q), rotary.turned(k)
    return scaled_dot_product_attention(q, k, v, is_causal=True, scale=q.shape[-1] ** -0.5)
