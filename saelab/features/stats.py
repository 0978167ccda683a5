"""One feature's numbers, and the maxima that steering counts in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Int
from torch import Tensor

from saelab.features.records import FeatureStats

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
_WHOLE = ("feature", "count", "contexts")
_PLAIN = (
    "feature", "count", "contexts", "density", "max", "mean", "std",
    "cosine", "encoder_norm", "decoder_norm", "b_enc", "threshold",
)  # fmt: skip


def level_column(level: float) -> str:
    """The column of a quantile: q50 for .5."""
    return f"q{round(100 * level)}"


COLUMNS = (*_PLAIN, *map(level_column, LEVELS))


def stats(cursor: duckdb.DuckDBPyConnection, feature: int) -> FeatureStats:
    """The statistics of one feature, which must exist."""
    row = cursor.execute(f"select {', '.join(COLUMNS)} from features where feature = ?", [feature]).fetchone()
    assert row is not None, feature
    return of_row(row)


def of_row(row: Sequence[Any]) -> FeatureStats:
    """From the values of COLUMNS."""
    named = dict(zip(_PLAIN, row, strict=False)) | {name: int(row[_PLAIN.index(name)]) for name in _WHOLE}
    return FeatureStats(**named, quantiles=tuple(zip(LEVELS, row[len(_PLAIN) :], strict=True)))


def maximum(cursor: duckdb.DuckDBPyConnection, features: Sequence[int]) -> Float[Tensor, "n"]:
    """The largest activation of each feature over the indexed tokens; 0 for one that never fires."""
    found = cursor.execute("select max from features order by feature").fetchnumpy()["max"]
    return torch.from_numpy(np.asarray(found)[list(features)].astype(np.float32))


def mean(cursor: duckdb.DuckDBPyConnection, features: Sequence[int]) -> Float[Tensor, "n"]:
    """The mean activation of each feature over all counted tokens, those on which it is 0 included."""
    found = cursor.execute("select mean * density as mean from features order by feature").fetchnumpy()["mean"]
    return torch.from_numpy(np.asarray(found)[list(features)].astype(np.float32))


def counts(cursor: duckdb.DuckDBPyConnection) -> Int[np.ndarray, "d_sae"]:
    """On how many of the indexed tokens each feature fires."""
    return np.asarray(cursor.execute("select count from features order by feature").fetchnumpy()["count"])


def strongest(files: Sequence[Path], top: int) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """(feature, row of the peak) of every feature's `top` strongest contexts, from the index's files of examples."""
    tables = [pq.read_table(file, columns=["feature", "row", "rank"]) for file in files]
    found = pa.concat_tables(tables)
    kept = found["rank"].to_numpy() < top
    return found["feature"].to_numpy()[kept].astype(np.int64), found["row"].to_numpy()[kept]
