"""Run evaluations on one checkpoint, and leave the labels they find where the index shows them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from saelab.contracts import Progress
from saelab.errors import ConfigError
from saelab.evals import EVALS, feature_labels
from saelab.features import write_labels
from saelab.runs import index_folder, keep_evaluation, language_model_of, store_of
from saelab.sae import SAE
from saelab.store import Store


def evaluate(checkpoint: Path, names: Sequence[str], store_path: Path | None, progress: Progress) -> dict[str, Any]:
    """{evaluation: its result}. Labels of `syntax` go into the checkpoint's index when there is one."""
    unknown = [name for name in names if name not in EVALS]
    if unknown:
        raise ConfigError(f"there is no evaluation {unknown[0]!r}; there are: {', '.join(EVALS)}")
    sae = SAE.load(checkpoint)
    store = Store.open(store_path) if store_path else store_of(checkpoint)
    lm = language_model_of(sae)
    results = {}
    for name in names or EVALS:
        evaluation = EVALS[name]
        results[name] = evaluation.run(sae, lm, store, evaluation.Config(), progress)
        keep_evaluation(checkpoint, name, results[name].to_json())
    if "syntax" in results and index_folder(checkpoint).is_dir():
        write_labels(index_folder(checkpoint), feature_labels(results["syntax"]))
    return results
