"""In PyTorch ops, some features at a time: their gradient, moments and weights stay in the cache from op to op."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from saelab.kernels.deferred import Derived, Part
from saelab.kernels.latent_update.adam import AdamStep
from saelab.kernels.latent_update.unit import normalise_rows_, remove_parallel_

CHUNK_BYTES = 1 << 20  # of gradient; half to twice as much takes as long, a quarter or the whole a third longer


@torch.no_grad()
def latent_update(
    W: Float[Tensor, "n d"],
    m: Float[Tensor, "n d"],
    v: Float[Tensor, "n d"],
    gradient: Sequence[Part],
    adam: AdamStep,
    unit: bool,
    derived: Derived | None = None,
) -> None:
    """Change W, m and v in place, and let `derived` follow."""
    n, d = W.shape
    rows = max(8, CHUNK_BYTES // (d * W.element_size()) // 8 * 8)  # of whole eights, as `derived` asks
    number = torch.full((), float(adam.number), device=W.device)
    along = parallel(gradient, W) if unit else None
    for start, *pieces in zip(range(0, n, rows), *(part.chunks(n, rows) for part in gradient), strict=True):
        chunk = slice(start, start + rows)
        g = total([piece for piece in pieces if piece is not None], W[chunk])
        if along is not None:
            g.addcmul_(along[chunk], W[chunk], value=-1)
        elif unit:
            remove_parallel_(g, W[chunk])
        torch._fused_adam_(  # the step of torch.optim.Adam(fused=True), which takes whole tensors only
            [W[chunk]], [g], [m[chunk]], [v[chunk]], [], [number], amsgrad=False, maximize=False, weight_decay=0.0,
            lr=adam.lr, beta1=adam.beta1, beta2=adam.beta2, eps=adam.eps,
        )  # fmt: skip
        if unit:
            normalise_rows_(W[chunk])
        if derived is not None:
            derived.follow(start, W[chunk])
    if derived is not None:
        derived.followed(W)


def parallel(gradient: Sequence[Part], W: Tensor) -> Float[Tensor, "n 1"] | None:
    """<gradient[i], W[i]>, where all of its parts know theirs from few numbers."""
    found = [one for part in gradient if (one := part.along(W)) is not None]
    return torch.stack(found).sum(dim=0).unsqueeze(1) if found and len(found) == len(gradient) else None


def total(pieces: Sequence[Tensor], like: Tensor) -> Tensor:
    """Their sum; zeros where there are none."""
    if not pieces:
        return torch.zeros_like(like)
    first, *others = pieces
    for other in others:
        first = first + other
    return first
