"""sparsify's step: its SparseCoder's own methods in the order of its Trainer, which cannot run without a model.

Left out, in its favour: the copies of rows that the Trainer makes inside a model's hook, and its progress bar.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from schedulefree import ScheduleFreeWrapper
from sparsify import SparseCoder, SparseCoderConfig
from sparsify.sign_sgd import SignSGD
from torch import Tensor
from transformers import get_linear_schedule_with_warmup

from .job import AUX, Job, rate_of, told

FOREVER = 10**12  # steps until the rate has fallen to 0: it stays level


@dataclass(frozen=True)
class How:
    """Options of the library that change its speed."""

    optimiser: str = "signum"
    autocast: bool = False  # bf16; on a GPU the library turns it on by itself
    chunks: int = 1  # micro_acc_steps: parts of a batch that are computed one after the other
    auxk: float = 0.0  # auxk_alpha


# Measured on two cores at (d_in, d_sae, batch) = (576, 9216, 2048), SmolLM2's rows, no feature dead, 2026-11-22, ms a
# step: Adam 415, with autocast 279, that in 4 chunks 297, in 16 chunks 351. Not measured on a GPU.
BEST = {"cpu": How("adam", autocast=True, auxk=AUX), "cuda": How("adam", auxk=AUX)}


def options(setting: str, device: str) -> How:
    return BEST[torch.device(device).type] if setting == "best" else How()


def how(setting: str, device: str) -> str:
    """For people."""
    return told(options(setting, device)) + ("" if rate_of(setting) == 1 else f", {rate_of(setting):g} times its rate")


class Training:
    def __init__(self, job: Job, W_dec: Tensor, setting: str) -> None:
        torch.set_float32_matmul_precision("high")  # as its Trainer does
        self.job, self.options, self.rate = job, options(setting, job.device), rate_of(setting)
        self.sae: Any = SparseCoder(job.d_in, SparseCoderConfig(num_latents=job.d_sae, k=job.k), job.device)
        with torch.no_grad():
            self.sae.encoder.weight.copy_(W_dec)
            self.sae.W_dec.copy_(W_dec)
        self.optimiser, self.schedule = self._optimiser()
        self.since_fired = torch.zeros(job.d_sae, dtype=torch.long, device=job.device)
        self.fired = torch.zeros(job.d_sae, dtype=torch.bool, device=job.device)

    def _optimiser(self) -> tuple[Any, Any]:
        parameters, job = self.sae.parameters(), self.job
        if self.options.optimiser == "adam":
            adam = torch.optim.Adam(parameters, lr=job.lr, fused=True)
            return adam, get_linear_schedule_with_warmup(adam, job.warmup, FOREVER)
        signum = ScheduleFreeWrapper(
            SignSGD(parameters, lr=self.rate * 5e-3 / (job.d_sae / 2**14) ** 0.5), momentum=0.95
        )
        signum.train()
        return signum, None

    def prepare(self, x: Tensor) -> Tensor:
        return x

    def step(self, x: Tensor) -> None:
        self.sae.set_decoder_norm_to_unit_norm()
        self._descend(x)
        self.sae.remove_gradient_parallel_to_decoder_directions()
        self.optimiser.step()
        self.optimiser.zero_grad()
        if self.schedule is not None:
            self.schedule.step()
        self.since_fired += len(x)
        self.since_fired[self.fired] = 0
        self.fired.zero_()

    def _descend(self, x: Tensor) -> None:
        """Leave the gradients of the whole loss, and note what fired."""
        dead = self._dead() if self.options.auxk > 0 else None
        variance = (x - x.mean(0)).pow(2).sum()
        for chunk in x.chunk(self.options.chunks):
            with self._autocast():
                out = self.sae(x=chunk, dead_mask=dead, total_variance=variance)
            self.fired[out.latent_indices.flatten()] = True
            float(out.fvu.detach())  # logged at every step
            if self.options.auxk > 0:
                float(out.auxk_loss.detach())
            (out.fvu + self.options.auxk * out.auxk_loss).div(self.options.chunks).backward()

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast("cpu", torch.bfloat16) if self.options.autocast else nullcontext()

    def _dead(self) -> Tensor:
        return self.since_fired > self.job.dead_after - 1

    def gradients(self, x: Tensor) -> dict[str, Tensor]:
        """Of the whole loss, at the weights as they are."""
        self.sae.zero_grad()
        self._descend(x)
        encoder, sae = self.sae.encoder, self.sae
        found = {"W_enc": encoder.weight.grad.t(), "b_enc": encoder.bias.grad, "W_dec": sae.W_dec.grad}
        return {name: gradient.clone() for name, gradient in {**found, "b_dec": sae.b_dec.grad}.items()}

    def declare_dead(self, features: Tensor) -> None:
        self.since_fired.copy_(features * self.job.dead_after)

    @property
    def b_enc(self) -> Tensor:
        bias: Tensor = self.sae.encoder.bias.data
        return bias

    def active(self, x: Tensor) -> Tensor:
        return (self._evaluated(x).latent_acts > 0).sum(dim=1)

    def reproduce(self, x: Tensor) -> Tensor:
        x_hat: Tensor = self._evaluated(x).sae_out
        return x_hat

    def _evaluated(self, x: Tensor) -> Any:
        averaged = isinstance(self.optimiser, ScheduleFreeWrapper)  # it evaluates the average of its steps
        if averaged:
            self.optimiser.eval()
        out = self.sae(x)
        if averaged:
            self.optimiser.train()
        return out
