"""Evaluations: one file each, with its Config, its Result and run(); `EVALS` names them."""

from typing import Any, Protocol

from saelab.config import Settings
from saelab.evals import fidelity, syntax
from saelab.evals.syntax import FeatureLabel, feature_labels


class Result(Protocol):
    """A frozen dataclass of figures."""

    def table(self) -> tuple[tuple[str, ...], list[Any]]:
        """Column names, and the rows."""

    def summary(self) -> list[str]:
        """The lines to read when there is time for no more."""

    def to_json(self) -> dict[str, Any]:
        """Every figure, as JSON holds it."""


class Eval(Protocol):
    """A module of this room."""

    @property
    def Config(self) -> type[Settings]:
        """Its settings, each with a default."""

    @property
    def run(self) -> Any:
        """(sae, lm, store, cfg, progress) -> Result."""


EVALS: dict[str, Eval] = {
    "fidelity": fidelity,
    "syntax": syntax,
}

__all__ = ["EVALS", "Eval", "FeatureLabel", "Result", "feature_labels"]
