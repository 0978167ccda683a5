"""What lies in a folder: which artefacts a run holds, and which of them belong together.

A run is DIR/store, DIR/sae/<name>, DIR/index/<name>: a checkpoint's index has its name, two folders further up.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from saelab import sealed
from saelab.contracts import Progress
from saelab.errors import CheckpointError, FeatureIndexError, SaelabError
from saelab.evals import rows as result_rows
from saelab.evals.rows import Results
from saelab.features import Index
from saelab.lm import LanguageModel
from saelab.sae import SAE, Replacement
from saelab.sae.checkpoint import of_another_library
from saelab.store import Store

if TYPE_CHECKING:
    from saelab.features import Drift


@runtime_checkable
class Artefact(Protocol):
    """What can be opened, checked and queried."""

    path: Path

    def verify(self, progress: Progress | None = None) -> list[str]:
        """What is wrong with it; nothing when it is whole."""


class Checkpoint:
    """A trained SAE on disk, as far as `verify` is concerned."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def verify(self, progress: Progress | None = None) -> list[str]:
        """Load it: sizes, shapes, types and finiteness are checked on the way; then what the training left beside."""
        from saelab.train.check import problems

        found = [*problems(self.path), *result_rows.problems(self.path)]
        if not (self.path / "cfg.json").is_file():
            return found  # the training has not ended
        try:
            Replacement.load(self.path)
        except CheckpointError as error:
            return [str(error), *found]
        return [*found, *sealed.problems(self.path / "cfg.json")]


MARKERS: dict[str, Callable[[Path], Artefact]] = {
    "store.json": Store.open,
    "cfg.json": Checkpoint,
    "metrics.jsonl": Checkpoint,  # of a training that has not ended
    "index.json": Index.open,
}


def artefacts_in(folder: Path) -> list[Artefact]:
    """The artefact that `folder` is, or every artefact below it. Raises SaelabError when there is none."""
    return [MARKERS[path.name](path.parent) for path in _markers_in(folder)]


def verify_all(folder: Path, progress: Progress | None = None) -> dict[Path, list[str]]:
    """What is wrong with each artefact in `folder`; nothing where it is whole.

    One that cannot be opened stops no other. Raises SaelabError when there is none.
    """
    return {path.parent: _problems(path, progress) for path in _markers_in(folder)}


def _problems(marker: Path, progress: Progress | None) -> list[str]:
    try:
        return MARKERS[marker.name](marker.parent).verify(progress)
    except SaelabError as error:
        return [str(error)]


def foreign_in(folder: Path) -> list[Path]:
    """Folders of SAEs that saelab did not write, or wrote for another library: it knows no checksum of theirs."""
    return [path.parent for path in sorted(folder.glob("**/cfg.json")) if of_another_library(path.parent)]


def _markers_in(folder: Path) -> list[Path]:
    foreign = set(foreign_in(folder))
    every = [path for marker in MARKERS for path in sorted(folder.glob(f"**/{marker}")) if path.parent not in foreign]
    found = list({path.parent: path for path in reversed(every)}.values())[::-1]  # a folder is one artefact
    if not found:
        raise SaelabError(
            f"{folder} holds no store, checkpoint or index. `saelab demo --out {folder}` makes one of each."
        )
    return found


def queryable(folder: Path) -> Store | Index | Results:
    """The store or index at `folder`, or the evaluations' results below it. Raises SaelabError for anything else."""
    for artefact in artefacts_in(folder):
        if artefact.path == folder and isinstance(artefact, Store | Index):
            return artefact
    if (results := Results(folder)).files:
        return results
    raise SaelabError(
        f"{folder} is neither a store nor an index, and below it nothing was evaluated; below it: {_names(folder)}"
    )


def _names(folder: Path) -> str:
    return ", ".join(str(artefact.path.relative_to(folder)) for artefact in artefacts_in(folder)) or "nothing"


def run_folder(checkpoint: Path) -> Path:
    """DIR of DIR/sae/<name>."""
    return checkpoint.resolve().parent.parent


def index_folder(checkpoint: Path) -> Path:
    """Where the index of a checkpoint is kept: DIR/sae/<name> -> DIR/index/<name>."""
    return run_folder(checkpoint) / "index" / checkpoint.resolve().name


def index_of(checkpoint: Path) -> Index:
    """The checkpoint's index. Raises FeatureIndexError, with the command that makes it, when there is none."""
    folder = index_folder(checkpoint)
    if not folder.is_dir():
        raise FeatureIndexError(f"{checkpoint} has no index at {folder}.\n  fix:   saelab index {checkpoint}")
    return Index.open(folder)


def index_if_any(checkpoint: Path) -> Index | None:
    """The checkpoint's index; None when there is none that is finished."""
    folder = index_folder(checkpoint)
    return Index.open(folder) if (folder / "CURRENT").is_file() else None


def drift_of(a: Path, b: Path) -> "Drift":
    """Checkpoint `a` beside `b`, with their indexes where both have one; of one training, number by number."""
    from saelab.features import drift_between
    from saelab.train.history import training_of

    same = training_of(a.resolve()) == training_of(b.resolve())
    return drift_between(a, b, index_if_any(a), index_if_any(b), same_numbers=same)


def store_of(checkpoint: Path) -> Store:
    """The store at `store_folder`. Raises CheckpointError when there is none."""
    folder = store_folder(checkpoint)
    if folder is None:
        places = " nor at ".join(map(str, _store_folders(checkpoint)))
        raise CheckpointError(f"no store at {places}.\n  fix:   name it with --store STORE")
    return Store.open(folder)


def store_folder(checkpoint: Path) -> Path | None:
    """Where a checkpoint's rows are: beside it, DIR/sae/<name> -> DIR/store, or else where its training read them."""
    return next((folder for folder in _store_folders(checkpoint) if (folder / "store.json").is_file()), None)


def _store_folders(checkpoint: Path) -> list[Path]:
    return [run_folder(checkpoint) / "store", *_trained_on(checkpoint)]


def _trained_on(checkpoint: Path) -> list[Path]:
    """The store of the training's settings, as it was named there; none where there are no settings, or no store."""
    from saelab.config import read_yaml
    from saelab.train.record import SETTINGS

    try:
        named = read_yaml(checkpoint / SETTINGS).get("store")
    except SaelabError:
        return []
    return [Path(named)] if isinstance(named, str) else []


def model_name_of(sae: SAE) -> str:
    """The name of the language model whose activations this SAE reads. Raises CheckpointError where none is held."""
    if "model_name" not in sae.metadata:
        raise CheckpointError(
            "the checkpoint does not say which language model its SAE reads.\n"
            "  fix:   if it was imported, import it again with --model NAME"
        )
    return str(sae.metadata["model_name"])


def language_model_of(sae: SAE, device: str = "auto") -> LanguageModel:
    """The language model whose activations this SAE reads. Raises CheckpointError where its name is not known."""
    return LanguageModel.load(model_name_of(sae), device=device)


def means_of(index: Index, features: Sequence[int], mode: str) -> Float[Tensor, "features"] | None:
    """What the two mean ablations put in: means over all tokens, or over those on which each fires; None for others."""
    if mode == "mean":
        return index.mean(features)
    if mode == "firing-mean":
        return torch.tensor([index.stats(feature).mean or 0.0 for feature in features])
    return None


def keep_evaluation(checkpoint: Path, name: str, figures: dict[str, Any]) -> None:
    """Write an evaluation's figures beside the weights, where the app looks for them."""
    sealed.write(checkpoint / "evals" / f"{name}.json", figures)
