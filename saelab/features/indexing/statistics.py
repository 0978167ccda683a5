"""Stage 4, numbers: count, moments, quantiles and histogram of every feature of one bucket."""

import numpy as np
import pyarrow as pa

from saelab.features.histogram import EDGES
from saelab.features.indexing.buckets import Bucket
from saelab.features.stats import LEVELS, level_column


def statistics(bucket: Bucket, n_tokens: int, contexts: np.ndarray) -> pa.Table:
    """One row per feature, those included that never fire; `contexts` counts the contexts in which each does."""
    first, count = bucket.bounds[:-1], np.diff(bucket.bounds)
    width, act = len(count), bucket.act.astype(np.float64)
    some = np.maximum(count, 1)
    mean = np.bincount(bucket.local, act, width) / some
    std = np.sqrt(np.bincount(bucket.local, (act - mean[bucket.local]) ** 2, width) / some)
    columns = {
        "feature": np.asarray(bucket.features, dtype=np.int32),
        "count": count,
        "contexts": contexts,
        "density": count / n_tokens,
        "max": _at(act, first, count),
        "mean": mean,
        "std": std,
    }
    for level in LEVELS:
        above = count - np.ceil(level * count).astype(np.int64)  # active tokens that come before it, strongest first
        columns[level_column(level)] = _at(act, first + above, count)
    return pa.table(columns)


def _at(act: np.ndarray, place: np.ndarray, count: np.ndarray) -> np.ndarray:
    """act[place], and 0 for a feature that never fires."""
    padded = np.append(act, 0.0)
    return np.where(count > 0, padded[np.minimum(place, len(act))], 0.0)


def histograms(bucket: Bucket) -> pa.Table:
    """Per feature the first bin of `EDGES` that holds any activation, and the counts from there to the last."""
    bins = len(EDGES) - 1
    place = np.searchsorted(EDGES, bucket.act.astype(np.float64), side="right") - 1
    counts = np.bincount(bucket.local * bins + place, minlength=len(bucket.features) * bins)
    rows = [_trimmed(row) for row in counts.reshape(-1, bins)]
    return pa.table(
        {
            "feature": np.asarray(bucket.features, dtype=np.int32),
            "first_bin": pa.array([first for first, _ in rows], pa.int32()),
            "counts": pa.array([kept for _, kept in rows], pa.list_(pa.int64())),
        }
    )


def _trimmed(counts: np.ndarray) -> tuple[int, np.ndarray]:
    filled = np.flatnonzero(counts)
    return (int(filled[0]), counts[filled[0] : filled[-1] + 1]) if len(filled) else (0, counts[:0])
