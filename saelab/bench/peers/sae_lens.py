"""SAELens's step: `SAETrainer.step`, which its `fit` calls for every batch."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from sae_lens import (
    BatchTopKTrainingSAE,
    BatchTopKTrainingSAEConfig,
    MatryoshkaBatchTopKTrainingSAE,
    MatryoshkaBatchTopKTrainingSAEConfig,
    TopKTrainingSAE,
    TopKTrainingSAEConfig,
)
from sae_lens.config import SAETrainerConfig
from sae_lens.saes.sae import TrainStepInput
from sae_lens.training.sae_trainer import SAETrainer
from torch import Tensor

from .job import AUX, Job, rate_of, told

KINDS = {
    "topk": (TopKTrainingSAE, TopKTrainingSAEConfig),
    "batchtopk": (BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig),
    "matryoshka": (MatryoshkaBatchTopKTrainingSAE, MatryoshkaBatchTopKTrainingSAEConfig),
}


@dataclass(frozen=True)
class How:
    """Options of the library that change its speed."""

    sparse: bool = False  # use_sparse_activations: COO tensors and torch.sparse.mm
    rescale: bool = True  # rescale_acts_by_decoder_norm; without it the decoder's rows are of any length
    autocast: bool = False  # bf16
    fused: bool = False  # Adam's


# Measured on two cores at (d_in, d_sae, batch) = (576, 9216, 2048), SmolLM2's rows, 2026-11-22, ms a step: as it comes
# 1642, autocast 1197, without rescaling 707, that compiled (compile_sae) 729, sparse (which works without rescaling
# only) 871. Not measured on a GPU.
BEST = {"cpu": How(rescale=False, autocast=True, fused=True), "cuda": How(rescale=False, autocast=True, fused=True)}


def options(setting: str, device: str) -> How:
    return BEST[torch.device(device).type] if setting == "best" else How()


def how(setting: str, device: str) -> str:
    """For people."""
    rate = "" if rate_of(setting) == 1 else f", {rate_of(setting):g} times its rate"
    return f"{told(options(setting, device))}, AuxK {'1/32' if setting == 'best' else '1'}{rate}"


class Training:
    def __init__(self, job: Job, W_dec: Tensor, setting: str) -> None:
        equal = setting == "best"
        self.job, self.batch = job, job.batch
        self.options = options(setting, job.device)
        kind, config = KINDS[job.variant]
        cfg = config(
            d_in=job.d_in, d_sae=job.d_sae, k=job.k, device=job.device, use_sparse_activations=self.options.sparse,
            rescale_acts_by_decoder_norm=self.options.rescale, **({"aux_loss_coefficient": AUX} if equal else {}),
            **({"matryoshka_widths": job.widths} if job.groups else {}),
        )  # fmt: skip
        self.sae: Any = kind(cfg)
        with torch.no_grad():
            self.sae.W_dec.copy_(W_dec)
            self.sae.W_enc.copy_(W_dec.t())
        self.trainer: Any = SAETrainer(
            self._trainer_settings(equal, rate_of(setting)), self.sae, data_provider=iter(())
        )
        if self.options.fused:
            for group in self.trainer.optimizer.param_groups:
                group["fused"] = True

    def _trainer_settings(self, equal: bool, rate: float) -> SAETrainerConfig:
        job = self.job
        equally = {"lr": job.lr, "lr_end": job.lr, "lr_warm_up_steps": job.warmup}
        rates = equally if equal else {"lr": 3e-4 * rate, "lr_end": 3e-5 * rate}
        return SAETrainerConfig(
            total_training_samples=job.steps * job.batch, train_batch_size_samples=job.batch, device=job.device,
            autocast=self.options.autocast, dead_feature_window=job.dead_after // job.batch - 1, **rates,
        )  # fmt: skip

    def prepare(self, x: Tensor) -> Tensor:
        """Dead features are told by passes here: at another batch size they are counted over again."""
        if len(x) != self.batch:
            self.trainer.n_forward_passes_since_fired *= self.batch / len(x)
            self.trainer.cfg.dead_feature_window = self.job.dead_after / len(x) - 1
            self.batch = len(x)
        return x

    def step(self, x: Tensor) -> None:
        self.trainer.step(x)
        self.trainer.n_training_steps += 1

    def gradients(self, x: Tensor) -> dict[str, Tensor]:
        """Of the whole loss, at the weights as they are."""
        self.sae.zero_grad()
        with self._autocast():
            given = TrainStepInput(x, {}, self.trainer.dead_neurons, 0, False)
            self.sae.training_forward_pass(given).loss.backward()
        return {name: p.grad.clone() for name, p in self.sae.named_parameters()}

    def _autocast(self) -> AbstractContextManager[None]:
        where: AbstractContextManager[None] = self.trainer.autocast_if_enabled
        return where if self.options.autocast else nullcontext()

    def declare_dead(self, features: Tensor) -> None:
        self.trainer.n_forward_passes_since_fired.copy_(features * (self.job.dead_after / self.batch))

    @property
    def b_enc(self) -> Tensor:
        bias: Tensor = self.sae.b_enc.data
        return bias

    def active(self, x: Tensor) -> Tensor:
        self.sae.eval()
        f: Tensor = self.sae.encode(x)
        self.sae.train()
        return (f.to_dense() > 0).sum(dim=1)

    def reproduce(self, x: Tensor) -> Tensor:
        self.sae.eval()
        x_hat: Tensor = self.sae(x)
        self.sae.train()
        return x_hat
