"""saelab's step: what `saelab train` does with a batch, `Trainee.descend`."""

from pathlib import Path

import torch
from torch import Tensor

from saelab.config import settings
from saelab.contracts import Batch
from saelab.process import keep_freed_memory
from saelab.sae import sae_config
from saelab.train import TrainConfig
from saelab.train.defaults import default_dead_after, resolve_precision
from saelab.train.normalise import Normalisation
from saelab.train.plans import Plan
from saelab.train.trainee import Trainee

from .job import AUX, Job

TRAINER = "trainer"  # a setting: the learning rate, its course and AuxK as `saelab train` chooses them


def how(setting: str, device: str) -> str:
    return "as `saelab train` does it" + (", nothing set" if setting == TRAINER else "")


class Training:
    """The real trainer on rows that are normalised already."""

    def __init__(self, job: Job, W_dec: Tensor, setting: str) -> None:
        keep_freed_memory()  # as `saelab train` does first
        sae = {"variant": job.variant, "d_in": job.d_in, "d_sae": job.d_sae, "k": job.k}
        sae.update({"groups": job.groups} if job.groups else {})
        rows = job.steps * job.batch
        train = {"rows": rows, "batch": job.batch, "lr": job.lr, "seed": job.seed, "device": job.device}
        if setting == TRAINER:
            dead_after = default_dead_after(rows, job.d_sae, job.k)
            train.update(dead_after=dead_after, precision=resolve_precision("auto", job.device))
        else:
            sae.update(aux=AUX)
            train.update(dead_after=job.dead_after, warmup=job.warmup / job.steps, decay=0.0)
        cfg = settings(TrainConfig, {"sae": sae, "train": train}, where="bench train")
        centre = torch.zeros(job.d_in, device=job.device)
        plan = Plan("bench", Path("bench"), sae_config(sae), cfg, "rows", None, {})
        self.trainee = Trainee(plan, Normalisation(centre, 1.0, centre, 1.0))
        self.sae = self.trainee.sae
        assert torch.equal(self.sae.W_dec, W_dec), "the trainer's first weights are not everyone's"

    def prepare(self, x: Tensor) -> Tensor:
        return x

    def step(self, x: Tensor) -> None:
        self.trainee.descend(Batch(x, x))

    def gradients(self, x: Tensor) -> dict[str, Tensor]:
        """Of the whole loss, at the weights as they are."""
        self.sae.zero_grad(set_to_none=True)
        torch.stack(list(self.sae.loss_terms(Batch(x, x), 0).values())).sum().backward()
        found = {name: p.grad for name, p in self.sae.named_parameters() if p.grad is not None}
        return {name: gradient.clone() for name, gradient in found.items()}

    def declare_dead(self, features: Tensor) -> None:
        self.sae.tokens_since_fired.copy_(features * self.sae.dead_after)

    @property
    def b_enc(self) -> Tensor:
        return self.sae.b_enc.data

    def active(self, x: Tensor) -> Tensor:
        self.sae.eval()
        with torch.no_grad():
            found = self.sae.encode_sparse(x).l0
        self.sae.train()
        return found

    def reproduce(self, x: Tensor) -> Tensor:
        self.sae.eval()
        x_hat: Tensor = self.sae(x)
        self.sae.train()
        return x_hat
