"""A dense step as one would write it with care: six products, torch.topk, fused Adam, and nothing sparse.

What libraries are without their overheads, so that a gain over them can be told from a gain over what they do. AuxK is
left out, in its favour.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from .job import Job


def how(setting: str, device: str) -> str:
    return {"fp32": "fp32 products (TF32 on a GPU)", "bf16": "bf16 products by autocast"}[setting]


class Training:
    """TopK or BatchTopK by masks."""

    def __init__(self, job: Job, W_dec: Tensor, setting: str) -> None:
        torch.set_float32_matmul_precision("high")
        self.job, self.bf16 = job, setting == "bf16"
        zeros = [torch.zeros(n, device=job.device, requires_grad=True) for n in (job.d_sae, job.d_in)]
        self.b_enc_, self.b_dec = zeros
        self.W_enc, self.W_dec = (W_dec.clone().requires_grad_() for _ in range(2))  # both [d_sae, d_in]
        parameters = [self.W_enc, self.W_dec, *zeros]
        self.optimiser = torch.optim.Adam(parameters, lr=job.lr, fused=True)
        self.taken = 0
        self.since_fired = torch.zeros(job.d_sae, dtype=torch.long, device=job.device)

    def prepare(self, x: Tensor) -> Tensor:
        return x

    def step(self, x: Tensor) -> None:
        self.taken += 1
        for group in self.optimiser.param_groups:
            group["lr"] = self.job.lr * min(1.0, self.taken / max(1, self.job.warmup))
        f = self._descend(x)
        with torch.no_grad():
            along = torch.linalg.vecdot(self.W_dec.grad, self.W_dec).unsqueeze(1)  # type: ignore[arg-type]
            self.W_dec.grad -= along * self.W_dec  # type: ignore[operator]
            self.optimiser.step()
            self.optimiser.zero_grad()
            self.W_dec /= torch.linalg.vector_norm(self.W_dec, dim=1, keepdim=True)
            self.since_fired += len(x)
            self.since_fired[(f > 0).any(dim=0)] = 0

    def _descend(self, x: Tensor) -> Tensor:
        """Leave the gradients; the activations."""
        with self._products():
            f = self._encode(x)
            x_hat = f @ self.W_dec + self.b_dec
        (x - x_hat.float()).pow(2).mean().backward()
        return f.detach()

    def _encode(self, x: Tensor) -> Tensor:
        f = torch.relu((x - self.b_dec) @ self.W_enc.t() + self.b_enc_)
        if self.job.variant == "topk":
            top = f.topk(self.job.k, dim=1, sorted=False)
            return torch.zeros_like(f).scatter(1, top.indices, top.values)
        top = f.flatten().topk(self.job.k * len(f), sorted=False)
        return torch.zeros_like(f).flatten().scatter(0, top.indices, top.values).view_as(f)

    @contextmanager
    def _products(self) -> Iterator[None]:
        with torch.autocast(torch.device(self.job.device).type, torch.bfloat16, enabled=self.bf16):
            yield

    def gradients(self, x: Tensor) -> dict[str, Tensor]:
        """Of the loss, at the weights as they are."""
        self.optimiser.zero_grad()
        self._descend(x)
        found = {"W_enc": self.W_enc.grad.t(), "b_enc": self.b_enc_.grad, "W_dec": self.W_dec.grad}  # type: ignore[union-attr]
        return {name: g.clone() for name, g in {**found, "b_dec": self.b_dec.grad}.items() if g is not None}

    def declare_dead(self, features: Tensor) -> None:
        self.since_fired.copy_(features * self.job.dead_after)

    @property
    def b_enc(self) -> Tensor:
        return self.b_enc_.data

    def active(self, x: Tensor) -> Tensor:
        with torch.no_grad(), self._products():
            return (self._encode(x) > 0).sum(dim=1)

    def reproduce(self, x: Tensor) -> Tensor:
        with torch.no_grad(), self._products():
            return (self._encode(x) @ self.W_dec + self.b_dec).float()
