"""Holds the mean number of active features: a sparsity penalty gains weight while there are too many, and loses it.

    weight <- weight * exp(rate * clip(log(L0 / target), -1, 1)),        rate = min(0.02, 30 / steps of the run)

after every batch that the penalty has its full weight on. A run has time for a factor of e^30 either way; a short one
is held to steps of 2 %, as L0 follows a change of the weight only over some tens of steps. The clip is for the first
steps, when half of all features fire. After Nabeshima 2024, "Matryoshka sparse autoencoders", whose coefficient of L1
goes up or down by 3e-4 at every step: the rate here at 100,000 steps.

A variant keeps one of these as a module, or None, so its state is a buffer of the SAE's:

    self.target = TargetL0(cfg.target_l0, start=cfg.l1) if cfg.target_l0 else None
    ... weight = cfg.l1 if self.target is None else self.target.weight          in the loss
    ... self.target.observe(l0, self.total_steps)                               once its terms are made
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

FASTEST, FOLDS = 0.02, 30.0  # largest rate; rate times steps
STEPS = 100_000  # where the number of steps is not known


class TargetL0(nn.Module):
    """The weight, and how it changes."""

    weight: Tensor  # one number

    def __init__(self, target: float, start: float) -> None:
        super().__init__()
        self.target = target
        self.register_buffer("weight", torch.tensor(start))

    @torch.no_grad()
    def observe(self, l0: Float[Tensor, ""], total_steps: int | None) -> None:
        """In training: a batch had `l0` active features per row. Loss terms made before keep the weight they have."""
        if self.training:
            rate = min(FASTEST, FOLDS / (total_steps or STEPS))
            self.weight = self.weight * (rate * (l0 / self.target).log().clamp(-1, 1)).exp()
