"""The definition: all products at every step, and autograd."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def pursue(
    x: Float[Tensor, "batch d"], W: Float[Tensor, "n d"], steps: int, tau: float, stop_at_repeat: bool
) -> tuple[Float[Tensor, "batch steps"], Int[Tensor, "batch steps"]]:
    """(a, j)."""
    r, going = x, torch.ones(len(x), dtype=torch.bool, device=x.device)
    a, taken = [], torch.zeros(len(x), 0, dtype=torch.int64, device=x.device)
    for _ in range(steps):
        j = (r @ W.t()).detach().argmax(dim=1)
        product = (r * W[j]).sum(dim=1)
        going = going & (product > 0)
        a.append(torch.where(going, product, 0.0))
        r = r - a[-1].unsqueeze(1) * W[j]
        if stop_at_repeat:
            going = going & ~(taken == j.unsqueeze(1)).any(dim=1)
        going = going & (r.norm(dim=1) >= tau)
        taken = torch.cat([taken, j.unsqueeze(1)], dim=1)
    return torch.stack(a, dim=1), taken
