"""What an evaluation is given, and the rows it gives back.

A Subject opens the language model and the store when an evaluation first asks for them: synthetic rows have neither.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from saelab.contracts import Progress
from saelab.errors import EvalSkipped
from saelab.lm import LanguageModel
from saelab.sae import SAE
from saelab.store import Store

# What an evaluation may need beyond the checkpoint; its NEEDS names some of these.
NEEDS: dict[str, str] = {
    "model": "the language model whose activations the SAE reads",
    "text": "the corpus of the store, for held-out documents",
    "python": "a corpus of Python source, for labels of syntax",
    "rows": "the store's held-out rows",
    "bed": "an SAE trained on rows whose true features are known (saelab synth)",
    "checkpoints": "two or more checkpoints of one site, named together",
    "index": "the checkpoint's feature index (saelab index)",
}


@dataclass(frozen=True)
class Figure:
    """One metric's value. `n` counts what it is a mean or share of; `seed` is of what was drawn at random, if any.

    A value that is no number (nothing to divide by) is None.
    """

    metric: str
    value: float | int | None
    n: int
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.value is not None and not math.isfinite(self.value):
            object.__setattr__(self, "value", None)


def explained(
    figures: Sequence[Figure], metrics: Mapping[str, str]
) -> tuple[tuple[str, ...], list[tuple[str, float | None, str]]]:
    """Column names and rows of a table of figures, each beside what it is."""
    return ("metric", "value", "what it is"), [(one.metric, one.value, metrics[one.metric]) for one in figures]


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a feature is said to fire on. Rows are of the text it is judged on: where it fires, and the words say so."""

    feature: int
    words: str
    fires: Int[np.ndarray, "fires"]
    acts: Float[np.ndarray, "fires"]
    says: Int[np.ndarray, "says"]


@dataclass(frozen=True, eq=False)
class Explanations:
    """Explanations of some of the `asked` features, and the window of text that each row belongs to."""

    window: Int[np.ndarray, "rows"]
    asked: int
    explained: tuple[Explanation, ...]


Explain = Callable[[LanguageModel, int, int, int, Progress], Explanations]  # (lm, tokens, most features, seed, …)


@dataclass
class Subject:
    """The SAE under evaluation, others to set beside it, and how to reach what it was trained on."""

    sae: SAE
    name: str
    open_lm: Callable[[], LanguageModel]
    open_store: Callable[[], Store]
    others: Sequence[tuple[str, SAE]] = field(default=())
    explain: Explain | None = None
    kept: dict[tuple, Any] = field(default_factory=dict)  # what several evaluations read, read once

    @classmethod
    def of(cls, sae: SAE, lm: LanguageModel, store: Store, name: str = "sae") -> "Subject":
        """A subject whose model and store are open."""
        return cls(sae, name, lambda: lm, lambda: store)

    @cached_property
    def lm(self) -> LanguageModel:
        """The language model. Raises EvalSkipped for synthetic rows, which none wrote."""
        name = str(self.sae.metadata.get("model_name", ""))
        if name.startswith("synthetic-"):
            raise EvalSkipped(f"needs a language model; the rows are synthetic ({name.removeprefix('synthetic-')})")
        return self.open_lm()

    @cached_property
    def store(self) -> Store:
        return self.open_store()
