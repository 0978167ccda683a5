"""Every single activation, feature by feature, as the build left them on disk: sparse, and read a bucket at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float, Int

from saelab.features.generation import Generation


@dataclass(frozen=True, eq=False)
class Firing:
    """Where one feature is above zero: rows of the store's split and activations there, the strongest first."""

    feature: int
    rows: Int[np.ndarray, "n"]
    acts: Float[np.ndarray, "n"]


def every(now: Generation, features: range | None = None) -> Iterator[Firing]:
    """All features that fire, or those among `features`, by number."""
    width, asked = int(now.facts["bucket_width"]), range(int(now.facts["features"])) if features is None else features
    for bucket in range(asked.start // width, -(-asked.stop // width)):
        table = pq.read_table(now.layout.bucket(bucket))
        feature, row = table["feature"].to_numpy(), table["row"].to_numpy()
        act = table["act"].to_numpy().astype(np.float32)
        found, first = np.unique(feature, return_index=True)
        for number, start, stop in zip(found.tolist(), first, [*first[1:], len(feature)], strict=True):
            if number in asked:
                yield Firing(number, row[start:stop], act[start:stop])


def of(now: Generation, feature: int) -> Firing:
    """One feature, which must exist; nothing of its bucket is read but the row groups it lies in."""
    path = now.layout.bucket(feature // int(now.facts["bucket_width"]))
    table = pq.read_table(path, columns=["act", "row"], filters=[("feature", "=", feature)])
    return Firing(feature, table["row"].to_numpy(), table["act"].to_numpy().astype(np.float32))
