"""Adam over an SAE's parameters, along the fused path where variant and settings allow it.

Fused: gradients of the matrices (`SAE.matrices`) are not written out; `latent_update` sums, projects, steps and
normalises them feature by feature. Written out: every gradient arrives in `.grad`, as clipping their global norm
requires. Both take the same step; the biases take it in `torch.optim.Adam` either way, which also holds the moments of
all parameters.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from saelab.kernels.deferred import Deferred, Part, Whole, deferring
from saelab.kernels.latent_update import AdamStep, Moments, latent_update
from saelab.sae import SAE
from saelab.train.config import OptimiserConfig


class Optimiser:
    """One step: `with optimiser.gradients(): ...backward()`, then `step(rate, number)`."""

    def __init__(self, sae: SAE, cfg: OptimiserConfig) -> None:
        self.sae, self.cfg = sae, cfg
        self.written_out = why_written_out(sae, cfg)
        self.adam = torch.optim.Adam(
            sae.parameters(), lr=float(cfg.lr or 0), betas=(cfg.beta1, cfg.beta2), eps=cfg.eps, fused=True
        )
        self._deferred = Deferred()

    @property
    def path(self) -> str:
        """For people: which path, and why when it is the slower one."""
        return "fused" if self.written_out is None else f"gradients written out: {self.written_out}"

    @contextmanager
    def gradients(self) -> Iterator[None]:
        """Forward and backward passes of one step belong inside."""
        if self.written_out is not None:
            yield
            return
        with deferring(self._deferred.derived) as self._deferred:
            yield

    def forget(self) -> None:
        """Drop the gradients of a pass that broke off."""
        self.adam.zero_grad(set_to_none=True)
        self._deferred = Deferred(self._deferred.derived)

    def step(self, rate: float, number: int) -> None:
        """The step number `number`, counted from 0, at learning rate `rate`; gradients are gone afterwards."""
        for group in self.adam.param_groups:
            group["lr"] = rate
        if self.written_out is None:
            self._fused(rate, number)
        else:
            self.sae.project_gradients()
            if self.cfg.clip is not None:
                nn.utils.clip_grad_norm_(self.sae.parameters(), self.cfg.clip)
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        if self.written_out is not None:
            self.sae.after_step(number)

    def _fused(self, rate: float, number: int) -> None:
        """The matrices, whose gradients Adam then finds to be none."""
        adam = AdamStep(number + 1, rate, self.cfg.beta1, self.cfg.beta2, self.cfg.eps)
        for parameter, W, unit in self.sae.matrices():
            parts: list[Part] = self._deferred.of(W)
            if parameter.grad is not None:
                parts = [*parts, Whole(parameter.grad.t() if W is not parameter else parameter.grad)]
            derived = self._deferred.derived.get(W.data_ptr())
            latent_update(W.detach(), self._moments(parameter, W, number + 1), parts, adam, unit, derived)
            parameter.grad = None
        self._deferred = Deferred(self._deferred.derived)

    def _moments(self, parameter: nn.Parameter, W: Tensor, number: int) -> Moments:
        """Where torch.optim.Adam keeps them, laid out by feature."""
        state = self.adam.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"].fill_(number)
        first, second = state["exp_avg"], state["exp_avg_sq"]
        return Moments(first, second) if W is parameter else Moments(first.t(), second.t())


def why_written_out(sae: SAE, cfg: OptimiserConfig) -> str | None:
    """Why the fused path cannot be taken; None when it can."""
    if cfg.clip is not None:
        return "train.clip needs the norm of all of them first"
    if cfg.end_to_end is not None:
        return "train.end_to_end reads them behind the model"
    kind = type(sae)
    if kind.project_gradients is not SAE.project_gradients or kind.after_step is not SAE.after_step:
        return f"{sae.cfg.variant} has steps of its own around the optimiser's"
    return None
