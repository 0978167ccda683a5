"""What every bed is: unit directions, a law by which they fire, and rows that are their sum.

    x = f features + bias + noise,    f [rows, n] the true activations, zero where a feature does not fire

All of it is a pure function of the bed's settings and of a seed per draw.
"""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from saelab.config import Settings

DIRECTIONS, DRAWS = 1, 2  # what a generator is for: no two uses share a seed


class BedConfig(Settings):
    """What all beds are asked."""

    seed: int = Field(0, ge=0, description="Of the directions and of whatever else is fixed.")
    noise: float = Field(0.0, ge=0, description="Standard deviation of the noise in every coordinate.")


@dataclass(frozen=True)
class Sample:
    """Rows and what they are made of."""

    x: Float[Tensor, "rows d"]
    f: Float[Tensor, "rows n"]
    gradient: Float[Tensor, "rows d"] | None = None  # of the bed's loss in x, where it has one


class Bed(ABC):
    """Base of every bed, which says where its directions lie and how they fire."""

    Config: ClassVar[type[BedConfig]]
    has_loss: ClassVar[bool] = False  # whether a model behind the rows has one: `gradient` is then that of it

    def __init__(self, cfg: BedConfig) -> None:
        self.cfg = cfg
        self.features = self.directions(generator(cfg.seed, DIRECTIONS))  # [n, d], unit rows
        self.bias = torch.zeros(self.d)
        self.parent: Int[Tensor, n] = torch.full((self.n,), -1)  # -1: a feature without a parent

    @property
    def n(self) -> int:
        """True features."""
        return len(self.features)

    @property
    def d(self) -> int:
        return self.features.shape[1]

    @abstractmethod
    def directions(self, random: torch.Generator) -> Float[Tensor, "n d"]:
        """Unit directions of the features."""

    @abstractmethod
    def activations(self, rows: int, random: torch.Generator) -> Float[Tensor, "rows n"]:
        """How strongly each feature fires."""

    def gradient(self, x: Float[Tensor, "rows d"], random: torch.Generator) -> Float[Tensor, "rows d"]:
        """Of the loss in these rows."""
        raise NotImplementedError(f"{type(self).__name__} has no loss")

    def draw(self, rows: int, seed: int) -> Sample:
        """`rows` rows, the same for the same seed."""
        random = generator(self.cfg.seed, DRAWS, seed)
        f = self.activations(rows, random)
        x = f @ self.features + self.bias
        if self.cfg.noise:
            x = x + self.cfg.noise * torch.randn(rows, self.d, generator=random)
        return Sample(x, f, self.gradient(x, random) if self.has_loss else None)


def generator(*seeds: int) -> torch.Generator:
    """One that depends on all of the numbers. PyTorch's takes in 32 bits of a seed, so they are hashed to as many."""
    digest = hashlib.blake2b(repr(seeds).encode(), digest_size=4).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))


def random_directions(n: int, d: int, random: torch.Generator) -> Float[Tensor, "n d"]:
    """Independent, evenly over the sphere."""
    made = torch.randn(n, d, generator=random)
    return made / made.norm(dim=1, keepdim=True)
