"""dictionary_learning's step: `TopKTrainer.update` or `BatchTopKTrainer.update`.

The data-dependent first value of b_dec, its update at step 0, is left out: the rows are centred.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer
from dictionary_learning.trainers.top_k import TopKTrainer
from torch import Tensor

from .job import Job, rate_of, told

KINDS = {"topk": TopKTrainer, "batchtopk": BatchTopKTrainer, "matryoshka": MatryoshkaBatchTopKTrainer}


@dataclass(frozen=True)
class How:
    """Options that change its speed."""

    autocast: bool = False  # bf16; its training loop offers it on a GPU
    fused: bool = False  # Adam's


# Measured on two cores at (d_in, d_sae, batch) = (576, 9216, 2048), SmolLM2's rows, 2026-11-22, ms a step: as it comes
# 1404, fused 1417, autocast 670, both 717: the difference is noise. Not measured on a GPU.
BEST = {"cpu": How(autocast=True, fused=True), "cuda": How(autocast=True, fused=True)}


def options(setting: str, device: str) -> How:
    return BEST[torch.device(device).type] if setting == "best" else How()


def how(setting: str, device: str) -> str:
    """For people."""
    return told(options(setting, device)) + ("" if rate_of(setting) == 1 else f", {rate_of(setting):g} times its rate")


class Training:
    def __init__(self, job: Job, W_dec: Tensor, setting: str) -> None:
        equal = setting == "best"
        self.job, self.taken = job, 0
        self.options = options(setting, job.device)
        own = 2e-4 / (job.d_sae / 2**14) ** 0.5 * rate_of(setting)
        warm = {"lr": own, "warmup_steps": min(1000, job.steps // 10)}  # a thousand steps for its long runs
        rates: dict[str, Any] = {"lr": job.lr, "warmup_steps": job.warmup} if equal else warm
        groups = {"group_fractions": list(job.groups)} if job.groups else {}
        self.trainer: Any = KINDS[job.variant](
            steps=job.steps, activation_dim=job.d_in, dict_size=job.d_sae, k=job.k, layer=0, lm_name="none",
            threshold_start_step=min(1000, job.steps // 10), device=job.device, **rates, **groups,
        )  # fmt: skip
        self.trainer.dead_feature_threshold = job.dead_after
        self.ae = self.trainer.ae
        with torch.no_grad():
            for weight, value in self._weights(W_dec):
                weight.copy_(value)
        if self.options.fused:
            for group in self.trainer.optimizer.param_groups:
                group["fused"] = True

    def _weights(self, W_dec: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Its matrices and what they begin with: layers, or in the nested kind parameters the other way round."""
        if hasattr(self.ae, "decoder"):
            return [(self.ae.decoder.weight, W_dec.t()), (self.ae.encoder.weight, W_dec)]
        return [(self.ae.W_dec, W_dec), (self.ae.W_enc, W_dec.t())]

    def prepare(self, x: Tensor) -> Tensor:
        return x.bfloat16() if self.options.autocast else x

    def step(self, x: Tensor) -> None:
        self.taken += 1
        with self._autocast():
            self.trainer.update(self.taken, x)

    def _autocast(self) -> AbstractContextManager[Any]:
        device = torch.device(self.job.device).type
        return torch.autocast(device, torch.bfloat16) if self.options.autocast else nullcontext()

    def gradients(self, x: Tensor) -> dict[str, Tensor]:
        """Of the whole loss, at the weights as they are."""
        self.ae.zero_grad()
        with self._autocast():
            self.trainer.loss(self.prepare(x), step=1).backward()
        encoder, decoder = self.ae.encoder, self.ae.decoder
        found = {"W_enc": encoder.weight.grad.t(), "b_enc": encoder.bias.grad, "W_dec": decoder.weight.grad.t()}
        return {name: gradient.clone() for name, gradient in {**found, "b_dec": self.ae.b_dec.grad}.items()}

    def declare_dead(self, features: Tensor) -> None:
        self.trainer.num_tokens_since_fired.copy_(features * self.job.dead_after)

    @property
    def b_enc(self) -> Tensor:
        bias: Tensor = self.ae.encoder.bias.data
        return bias

    def active(self, x: Tensor) -> Tensor:
        return (self.ae.encode(x) > 0).sum(dim=1)

    def reproduce(self, x: Tensor) -> Tensor:
        x_hat: Tensor = self.ae(x)
        return x_hat
