"""What attention moves: each head's pattern, and the values that it takes from every token.

    z_h(t) = sum over s of A_h(t, s) v_h(s)

Where heads share values (grouped queries), each head is given its own copy.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saelab.errors import ModelError
from saelab.lm.hooks import hooked
from saelab.lm.model import LanguageModel

CLOSE = 0.02  # of the largest |z|: bfloat16 keeps 8 bits, and their errors add up


@dataclass(frozen=True, eq=False)
class Attention:
    """Of one text in one layer: `pattern[h, t, s]` is what head h takes at token t of token s's value."""

    pattern: Float[Tensor, "heads tokens tokens"]
    values: Float[Tensor, "tokens heads d_head"]
    z: Float[Tensor, "tokens heads d_head"]


@torch.no_grad()
def attention(lm: LanguageModel, ids: Int[Tensor, "tokens"], layer: int) -> Attention:
    """What layer `layer` moves in a text. Raises ModelError for a model whose z is not pattern times values."""
    site = f"blocks.{layer}.attn.hook_z"
    read: dict[str, Tensor] = {}
    with lm.lock, hooked(*_keeping(lm, layer, "hook_pattern", read)), hooked(*_keeping(lm, layer, "v", read)):
        z = lm.activations(ids.unsqueeze(0), [site])[site][0].float()
    if len(read) < 2:
        raise _refused(lm, layer, "it does not say what its heads look at")
    pattern = read["hook_pattern"][0].float()
    heads, width = len(pattern), z.shape[-1] // len(pattern)
    values = read["v"][0].float().reshape(len(ids), -1, width)
    values = values.repeat_interleave(heads // values.shape[1], dim=1)
    z = z.unflatten(-1, (heads, width))
    off = float((torch.einsum("hts,shd->thd", pattern, values) - z).abs().max())
    if off > CLOSE * float(z.abs().max()):
        raise _refused(lm, layer, f"its z is not its pattern times its values, from which it is off by {off:.2g}")
    return Attention(pattern, values, z)


def _keeping(lm: LanguageModel, layer: int, name: str, read: dict[str, Tensor]) -> tuple[Any, Any]:
    """(a hook point, what keeps the tensor that passes there)."""
    point = getattr(lm.bridge.blocks[layer].attn, name, None)
    point = getattr(point, "hook_out", point)
    if point is None:
        raise _refused(lm, layer, f"it has no {name}")
    return point, partial(_keep, read, name)


def _keep(read: dict[str, Tensor], name: str, tensor: Tensor) -> None:
    read[name] = tensor


def _refused(lm: LanguageModel, layer: int, why: str) -> ModelError:
    return ModelError(f"the attention of {lm.name}, layer {layer}, cannot be taken apart by source token: {why}.")
