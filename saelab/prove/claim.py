"""One claim about one variant: what is measured on which bed, and the bound it must keep."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@runtime_checkable
class Bound(Protocol):
    """What the mean over seeds must keep."""

    def holds(self, value: float) -> bool:
        """Whether `value` keeps it."""


@dataclass(frozen=True)
class AtLeast:
    bound: float

    def holds(self, value: float) -> bool:
        return value >= self.bound

    def __str__(self) -> str:
        return f">= {self.bound:g}"


@dataclass(frozen=True)
class AtMost:
    bound: float

    def holds(self, value: float) -> bool:
        return value <= self.bound

    def __str__(self) -> str:
        return f"<= {self.bound:g}"


@dataclass(frozen=True)
class Claim:
    """`measure(seed)` gives one number; a seed fixes bed, weights and rows. Bounds stand before anything is measured.

    `note` says, where the bound is not kept, what was tried and why it does not hold at this scale.
    """

    name: str  # "{variant}-{what}", unique
    variant: str
    bed: str
    says: str  # in words, with the unit
    target: Bound
    measure: Callable[[int], float]
    source: str  # paper, or what the bound comes from
    seeds: int = 3
    slow: bool = False  # left out of --fast
    note: str = ""
