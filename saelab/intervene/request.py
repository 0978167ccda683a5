"""What is asked of a steered generation, apart from the features: the prompt and how to go on from it."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from saelab.errors import InterventionError
from saelab.intervene.steer import Steer
from saelab.sae import SAE

ROWS = ("default", "steered", "random", "other")


@dataclass(frozen=True)
class SteerRequest:
    """One generation. `rows` are those of its batch:

    default: the model as it is. steered. random, other: the controls of saelab.intervene.controls.
    """

    prompt: str
    steps: int = 60  # tokens to write
    temperature: float = 0.7  # 0 takes the likeliest token
    seed: int = 0
    chat: bool = False  # put the prompt through the model's chat template
    rows: tuple[str, ...] = ("default", "steered")

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if row not in ROWS]
        if wrong or not self.rows or len(set(self.rows)) < len(self.rows):
            raise InterventionError(f"rows = {', '.join(self.rows) or 'none'}: name each once, of {', '.join(ROWS)}")
        if self.steps < 1 or not 0 <= self.temperature < math.inf:
            raise InterventionError(
                f"tokens = {self.steps}, temperature = {self.temperature}: tokens start at 1, temperatures at 0"
            )


@dataclass(frozen=True, eq=False)
class Steering:
    """What is done to the features of one SAE; `maxima[j]` is the largest activation of that of `steers[j]`."""

    sae: SAE
    steers: tuple[Steer, ...]
    maxima: Float[Tensor, "steers"]
