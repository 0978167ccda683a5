"""Evaluations: one file each, with its Config, its Result and run(); `EVALS` names them.

Each says what it needs (NEEDS), where it comes from (SOURCE) and what each of its figures is (METRICS).
"""

from typing import Any, Protocol, runtime_checkable

from saelab.config import Settings
from saelab.evals import (
    absorption,
    autointerp,
    core,
    eps_lbo,
    fidelity,
    ravel,
    scr,
    sparse_probing,
    stability,
    syntax,
    synth,
    tpp,
    unlearning,
)
from saelab.evals.subject import Figure, Subject
from saelab.evals.syntax import FeatureLabel, feature_labels


@runtime_checkable
class Result(Protocol):
    """A frozen dataclass of figures."""

    def figures(self) -> list[Figure]:
        """One row per metric."""

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
    def NEEDS(self) -> tuple[str, ...]:
        """What it needs beyond the checkpoint: keys of `subject.NEEDS`."""

    @property
    def SOURCE(self) -> str:
        """The paper or project it comes from."""

    @property
    def METRICS(self) -> dict[str, str]:
        """Each figure's definition."""

    @property
    def run(self) -> Any:
        """(subject, cfg, progress) -> Result. Raises EvalSkipped where it cannot be asked."""


EVALS: dict[str, Eval] = {
    "fidelity": fidelity,
    "syntax": syntax,
    "core": core,
    "stability": stability,
    "synth": synth,
    "eps_lbo": eps_lbo,
    "sparse_probing": sparse_probing,
    "scr": scr,
    "tpp": tpp,
    "absorption": absorption,
    "ravel": ravel,
    "unlearning": unlearning,
    "autointerp": autointerp,
}
SHORT = ("fidelity", "syntax")  # what is measured when nothing else is asked for, and by the demo

__all__ = ["EVALS", "SHORT", "Eval", "FeatureLabel", "Figure", "Result", "Subject", "feature_labels"]
