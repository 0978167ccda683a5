"""Two checkpoints side by side, feature by feature: how far decoder rows turned, which were born or died, what changed.

    cosine_i  = cos(W_dec_a[i], W_dec_b[p(i)])            p(i) the feature of b that feature i of a is set beside
    overlap_i = |top_a(i) & top_b(p(i))| / |top_a(i) or top_b(p(i))|      top: the tokens of the strongest examples

Two checkpoints of one training number their features alike, and p(i) = i. Those of two trainings do not, and p(i) is
the feature of b whose decoder row is nearest to that of i; then nothing can be said to be born or to die.

A feature lives when it fires on the indexed tokens; without an index of both, when it fired on the last `dead_after`
rows of training, which every checkpoint counts.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saelab.errors import CheckpointError
from saelab.features.index import Index
from saelab.sae import SAE

CHUNK = 1024
TOP = 20  # examples compared
SAME = 0.9  # cosine from which two directions are said to be the same


@dataclass(frozen=True)
class DriftRow:
    """One feature of a beside its partner in b; None for what is not known."""

    feature: int
    partner: int
    cosine: float
    density_a: float | None
    density_b: float | None
    overlap: float | None
    fate: str


@dataclass(frozen=True, eq=False)
class Drift:
    """Every feature of a beside its partner in b. `alive_b` and `density_b` are the partner's."""

    same_numbers: bool
    lives: str  # how it was told that a feature lives
    partner: Int[np.ndarray, "d_sae"]
    cosine: Float[np.ndarray, "d_sae"]
    alive_a: Bool[np.ndarray, "d_sae"] | None
    alive_b: Bool[np.ndarray, "d_sae"] | None
    density_a: Float[np.ndarray, "d_sae"] | None
    density_b: Float[np.ndarray, "d_sae"] | None
    overlap: Float[np.ndarray, "d_sae"] | None  # NaN where neither has an example

    @property
    def born(self) -> Bool[np.ndarray, "d_sae"] | None:
        """Dead in a, alive in b; None where that means nothing."""
        return _both(self.same_numbers, self.alive_a, self.alive_b, (False, True))

    @property
    def died(self) -> Bool[np.ndarray, "d_sae"] | None:
        """Alive in a, dead in b; None where that means nothing."""
        return _both(self.same_numbers, self.alive_a, self.alive_b, (True, False))

    def summary(self) -> dict[str, float | None]:
        """The figures of all features: their names say what they are."""
        rise = self.rise()
        known = rise[np.isfinite(rise)] if rise is not None else np.empty(0)
        overlap = None if self.overlap is None else self.overlap[np.isfinite(self.overlap)]
        return {
            "median cosine": float(np.median(self.cosine)),
            f"share with cosine {SAME:g} or more": float((self.cosine >= SAME).mean()),
            "born": None if self.born is None else int(self.born.sum()),
            "died": None if self.died is None else int(self.died.sum()),
            "median change of density, factor": float(10 ** np.median(np.abs(known))) if len(known) else None,
            "mean overlap of examples": float(overlap.mean()) if overlap is not None and len(overlap) else None,
        }

    def rise(self) -> Float[np.ndarray, "d_sae"] | None:
        """log10(density in b / density in a); not finite where the feature is dead in one."""
        if self.density_a is None or self.density_b is None:
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log10(self.density_b / self.density_a)

    def rows(self, sort: str = "cosine", limit: int = 50) -> list[DriftRow]:
        """The features that changed most: by `cosine`, `density`, `overlap`, or the `born` or `died` alone."""
        order = self._order(sort)
        return [self._row(int(i)) for i in order[:limit]]

    def _order(self, sort: str) -> Int[np.ndarray, "n"]:
        by = np.argsort(self.cosine, kind="stable")
        if sort in ("born", "died"):
            which = self.born if sort == "born" else self.died
            return by[:0] if which is None else by[which[by]]
        rise = self.rise()
        if sort == "density" and rise is not None:
            return np.argsort(-np.nan_to_num(np.abs(rise), nan=-1.0, posinf=-0.5), kind="stable")
        if sort == "overlap" and self.overlap is not None:
            return np.argsort(np.nan_to_num(self.overlap, nan=2.0), kind="stable")
        return by

    def _row(self, i: int) -> DriftRow:
        fate = "born" if _at(self.born, i) else "died" if _at(self.died, i) else ""
        overlap = _at(self.overlap, i)
        return DriftRow(
            i, int(self.partner[i]), float(self.cosine[i]), _at(self.density_a, i), _at(self.density_b, i),
            None if overlap is None or np.isnan(overlap) else overlap, fate,
        )  # fmt: skip


def drift_between(a: Path, b: Path, index_a: Index | None, index_b: Index | None, same_numbers: bool) -> Drift:
    """Checkpoint `a` beside `b`, with what their indexes say where both have one.

    Raises CheckpointError when their decoder rows are of different widths.
    """
    first, second = SAE.load(a), SAE.load(b)
    first.require_rows("a comparison of decoder rows")
    second.require_rows("a comparison of decoder rows")
    one, other = (torch.nn.functional.normalize(sae.W_dec.detach().float(), dim=1) for sae in (first, second))
    if one.shape[1] != other.shape[1]:
        raise CheckpointError(
            f"{a} writes rows of width {one.shape[1]}, {b} of width {other.shape[1]}: their directions cannot be "
            "compared.\n  fix:   name two checkpoints of one site"
        )
    same_numbers = same_numbers and one.shape == other.shape
    partner, cosine = _by_number(one, other) if same_numbers else _nearest(one, other)
    indexed = index_a is not None and index_b is not None
    alive_a, alive_b, lives = _alive((index_a, index_b), (first, second), (a, b))
    density = [i.counts() / i.n_tokens for i in (index_a, index_b) if i is not None and indexed]
    return Drift(
        same_numbers, lives, partner, cosine, alive_a, None if alive_b is None else alive_b[partner],
        density[0] if indexed else None, density[1][partner] if indexed else None,
        _overlap(index_a, index_b, partner) if index_a is not None and index_b is not None else None,
    )  # fmt: skip


def _by_number(one: Float[Tensor, "n d"], other: Float[Tensor, "n d"]) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(len(one)), (one * other).sum(dim=1).numpy().astype(np.float64)


def _nearest(one: Float[Tensor, "n d"], other: Float[Tensor, "m d"]) -> tuple[np.ndarray, np.ndarray]:
    best = [(rows @ other.T).max(dim=1) for rows in one.split(CHUNK)]
    return (torch.cat([found.indices for found in best]).numpy(),
            torch.cat([found.values for found in best]).numpy().astype(np.float64))  # fmt: skip


def _alive(
    indexes: Sequence[Index | None], saes: Sequence[SAE], folders: Sequence[Path]
) -> tuple[np.ndarray | None, np.ndarray | None, str]:
    """Which features live, in both, and how that was told."""
    if all(index is not None for index in indexes):
        one, other = (index.counts() > 0 for index in indexes if index is not None)
        return one, other, "fires on the indexed tokens"
    limits = [_dead_after(folder) for folder in folders]
    if None in limits:
        return None, None, "not known: no index of both, and no record of their trainings"
    one, other = (
        (sae.tokens_since_fired < limit).cpu().numpy() for sae, limit in zip(saes, limits, strict=True) if limit
    )
    return one, other, f"fired on the last {limits[0]:,} rows of training"


def _dead_after(folder: Path) -> int | None:
    try:
        settings: dict[str, Any] = json.loads((folder / "training.json").read_text(encoding="utf-8"))["settings"]
        return int(settings["train"]["dead_after"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _overlap(index_a: Index, index_b: Index, partner: Int[np.ndarray, "d_sae"]) -> np.ndarray | None:
    """Jaccard index of the strongest examples' tokens; None when the two saw different tokens."""
    if any(index_a.facts.get(key) != index_b.facts.get(key) for key in ("store", "tokens")):
        return None
    (feature_a, row_a), (feature_b, row_b) = index_a.strongest(TOP), index_b.strongest(TOP)
    n, rows = len(partner), index_a.n_tokens
    both = np.bincount(feature_a[np.isin(partner[feature_a] * rows + row_a, feature_b * rows + row_b)], minlength=n)
    either = np.bincount(feature_a, minlength=n) + np.bincount(feature_b, minlength=index_b.n_features)[partner] - both
    return np.where(either > 0, both / np.maximum(either, 1), np.nan)


def _both(
    told: bool, one: np.ndarray | None, other: np.ndarray | None, wanted: tuple[bool, bool]
) -> Bool[np.ndarray, "d_sae"] | None:
    if not told or one is None or other is None:
        return None
    return (one == wanted[0]) & (other == wanted[1])


def _at(values: np.ndarray | None, i: int) -> Any:
    return None if values is None else values[i].item()
