"""Run evaluations on checkpoints, keep what they find beside the weights, and labels where the index shows them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from saelab.contracts import Progress
from saelab.errors import CheckpointError, ConfigError, EvalError, EvalSkipped, FeatureIndexError
from saelab.evals import EVALS, SHORT, Result, Subject, feature_labels
from saelab.evals.rows import Row, keep_rows, rows_of
from saelab.evals.subject import Explanations
from saelab.explain.detection import explanations
from saelab.features import write_labels
from saelab.lm import LanguageModel
from saelab.runs import index_folder, index_if_any, keep_evaluation, model_name_of, store_of
from saelab.sae import SAE
from saelab.store import Store


@dataclass
class Measured:
    """What was found of one checkpoint, and why what was left out was."""

    checkpoint: Path
    results: dict[str, Result] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Every figure of every evaluation, as it always was, and the reasons of those left out."""
        return {name: result.to_json() for name, result in self.results.items()}


def evaluate(
    checkpoints: Sequence[Path], names: Sequence[str], every: bool, store: Path | None, progress: Progress
) -> list[Measured]:
    """Measure each checkpoint by `names`, by all there is (`every`), or by the short list.

    Of all there is, what a checkpoint cannot be asked is left out with its reason. Raises ConfigError for a name that
    is none, and what the evaluations raise.
    """
    unknown = [name for name in names if name not in EVALS]
    if unknown:
        raise ConfigError(f"there is no evaluation {unknown[0]!r}; there are: {', '.join(EVALS)}")
    loaded = [(path, SAE.load(path)) for path in checkpoints]
    model = cache(partial(LanguageModel.load, device="auto"))
    found = []
    for path, sae in loaded:
        subject = Subject(
            sae=sae,
            name=path.resolve().name,
            open_lm=partial(_opened, model, sae),
            open_store=partial(Store.open, store) if store else partial(store_of, path),
            explain=partial(_explanations, path, store),
            others=[(other.resolve().name, each) for other, each in loaded if other != path],
        )
        found.append(_measured(path, subject, tuple(EVALS) if every else tuple(names) or SHORT, every, progress))
    return found


def _opened(model: Callable[[str], LanguageModel], sae: SAE) -> LanguageModel:
    return model(model_name_of(sae))


def _explanations(
    path: Path, store: Path | None, lm: LanguageModel, tokens: int, most: int, seed: int, progress: Progress
) -> Explanations:
    """The rules of the checkpoint's features. Raises EvalSkipped when there is no index of them."""
    index = index_if_any(path)
    if index is None:
        raise EvalSkipped(f"needs the feature index; make it with: saelab index {path}")
    return explanations(index, Store.open(store) if store else store_of(path), lm, tokens, most, seed, progress)


def _measured(path: Path, subject: Subject, names: Sequence[str], every: bool, progress: Progress) -> Measured:
    """One checkpoint; every result is kept as soon as it is there."""
    measured = Measured(path)
    for number, name in enumerate(names, start=1):
        progress.note(f"{subject.name}: {name} ({number} of {len(names)})")
        try:
            result = EVALS[name].run(subject, EVALS[name].Config(), progress)
        except (EvalError, CheckpointError, FeatureIndexError) as error:
            if not every:  # else: this checkpoint, or its text, cannot be asked that
                raise
            measured.skipped[name] = str(error).splitlines()[0]
            progress.note(f"{name} is left out: {measured.skipped[name]}")
            continue
        rows = rows_of(str(path), name, result.figures())
        keep_evaluation(path, name, result.to_json())
        keep_rows(path, rows)
        measured.results[name], measured.rows = result, measured.rows + rows
    if "syntax" in measured.results and index_folder(path).is_dir():
        write_labels(index_folder(path), feature_labels(measured.results["syntax"]))  # type: ignore[arg-type]
    return measured
