"""The settings of one step of Adam."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AdamStep:
    """`number` counts from 1."""

    number: int
    lr: float
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
