"""The floor of a step that computes every pre-activation once: the encoder's product in bf16, and nothing else."""

import torch
from torch import Tensor

from .job import Job


def how(setting: str, device: str) -> str:
    return "torch.mm in bf16, output preallocated"


class Training:
    """x W_enc into memory that is there already; a feature's weights lie together, as in saelab."""

    def __init__(self, job: Job, W_dec: Tensor, setting: str) -> None:
        self.W_enc = W_dec.bfloat16().t()
        self.out = W_dec.new_empty(0, job.d_sae, dtype=torch.bfloat16)

    def prepare(self, x: Tensor) -> Tensor:
        """Outside the clock."""
        if len(x) != len(self.out):
            self.out = self.out.new_empty(len(x), self.out.shape[1])
        return x.bfloat16()

    def step(self, x: Tensor) -> None:
        torch.mm(x, self.W_enc, out=self.out)
