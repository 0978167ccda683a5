"""Which feature indexes a folder holds: those of one run, or of several runs side by side. Reads names only."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saelab.errors import SaelabError


@dataclass(frozen=True)
class Choice:
    """One SAE that can be browsed: the run it belongs to, its name there, and its index."""

    run: str
    sae: str
    index: Path

    @property
    def run_folder(self) -> Path:
        """DIR of DIR/index/<name>."""
        return self.index.parent.parent

    @property
    def checkpoint(self) -> Path:
        """DIR/index/<name> -> DIR/sae/<name>."""
        return self.index.parent.parent / "sae" / self.sae


def choices(folder: Path) -> list[Choice]:
    """The indexes of the run `folder`, or of the runs in it, by name. Raises SaelabError when there is none."""
    pointers = sorted(folder.glob("index/*/CURRENT")) or sorted(folder.glob("*/index/*/CURRENT"))
    found = [_choice(pointer.parent) for pointer in pointers]
    if not found:
        raise SaelabError(_nothing(folder))
    return found


def require_something(folder: Path) -> None:
    """Raise SaelabError when `folder` holds neither an index to browse nor a training to watch."""
    if not any(folder.glob("sae/*/training.json")) and not any(folder.glob("*/sae/*/training.json")):
        choices(folder)


def _choice(index: Path) -> Choice:
    return Choice(run=index.absolute().parent.parent.name, sae=index.name, index=index)


def _nothing(folder: Path) -> str:
    """Why there is nothing to browse, and the command that changes that."""
    if not folder.is_dir():
        return f"there is no folder {folder}.\n  fix:   saelab demo --out {folder}"
    checkpoints = sorted(folder.glob("sae/*/cfg.json"))
    if checkpoints:
        return f"{folder} holds checkpoints, but no feature index.\n  fix:   saelab index {checkpoints[0].parent}"
    return f"{folder} holds no feature index (no {folder}/index/NAME).\n  fix:   saelab demo --out {folder}"


@dataclass(frozen=True)
class Headline:
    """What a checkpoint says of itself. A figure nobody has measured is None."""

    variant: str
    model: str
    site: str
    fvu: float | None
    l0: float | None
    ce_recovered: float | None


def headline(checkpoint: Path) -> Headline:
    """The figures measured on held-out documents: of the last evaluation, or else of the training."""
    cfg = _json(checkpoint / "cfg.json")
    saelab = cfg.get("metadata", {}).get("saelab", {})
    trained = _json(checkpoint / "training.json").get("heldout") or {}
    measured = {**trained, **_json(checkpoint / "evals" / "fidelity.json")}
    return Headline(
        variant=str(saelab.get("variant") or cfg.get("architecture", "")),
        model=str(cfg.get("metadata", {}).get("model_name", "")),
        site=_sites(cfg.get("metadata", {}).get("hook_name", "")),
        **{name: measured.get(name) for name in ("fvu", "l0", "ce_recovered")},
    )


def _sites(named: str | list[str]) -> str:
    """A site, or those of a crosscoder."""
    return named if isinstance(named, str) else " + ".join(named)


def _json(path: Path) -> dict[str, Any]:
    """The object in a file of ours; empty when the file is not there."""
    if not path.is_file():
        return {}
    values = json.loads(path.read_text(encoding="utf-8"))
    return values if isinstance(values, dict) else {}
