"""Stage 4, what the examples show: the tokens around each peak, and on which of them the feature fires how strongly.

A window never leaves its context. Activations are kept only where the feature fires (`fired` counts from the window's
first token), in half precision: an example costs about 50 bytes, whatever the length of the text.
"""

import numpy as np
import pyarrow as pa

from saelab.features.config import IndexConfig
from saelab.features.indexing.buckets import Bucket
from saelab.features.indexing.job import Contexts
from saelab.features.indexing.peaks import Peaks


def examples(bucket: Bucket, peaks: Peaks, tokens: pa.Table, contexts: Contexts, cfg: IndexConfig) -> pa.Table:
    """One row per chosen peak, by feature and rank."""
    context = contexts.of_row[peaks.row]
    start = np.maximum(peaks.row - cfg.before, contexts.starts[context])
    stop = np.minimum(peaks.row + cfg.after + 1, contexts.starts[context + 1])
    owner, rows = _spread(start, stop)
    act = _activations(bucket, peaks.local[owner], rows)
    fired = act > 0
    window = _offsets(stop - start)
    firing = _offsets(np.bincount(owner[fired], minlength=len(start)))
    ids = tokens["token"].to_numpy()[rows]
    return pa.table(
        {
            "feature": (peaks.local + bucket.features.start).astype(np.int32),
            "rank": peaks.rank.astype(np.int32),
            "quantile": peaks.quantile.astype(np.uint8),
            "sampled": peaks.sampled,
            "row": peaks.row,
            "doc": tokens["doc"].to_numpy()[peaks.row],
            "pos": tokens["pos"].to_numpy()[peaks.row],
            "peak": (peaks.row - start).astype(np.uint8),
            "tokens": pa.ListArray.from_arrays(window, pa.array(ids, pa.int32())),
            "fired": pa.ListArray.from_arrays(firing, pa.array((rows - start[owner])[fired], pa.uint8())),
            "acts": pa.ListArray.from_arrays(firing, pa.array(act[fired])),
        }
    )


def _offsets(lengths: np.ndarray) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())


def _spread(start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every row of every window, and which window it belongs to."""
    length = stop - start
    owner = np.repeat(np.arange(len(start)), length)
    return owner, np.arange(length.sum()) + np.repeat(start - (np.cumsum(length) - length), length)


def _activations(bucket: Bucket, local: np.ndarray, row: np.ndarray) -> np.ndarray:
    """The feature's activation at each row, 0 where it does not fire."""
    if not len(row):
        return np.zeros(0, np.float16)
    n_rows = int(max(bucket.row.max(), row.max())) + 1
    known, wanted = bucket.local * n_rows + bucket.row, local * n_rows + row
    by_row = np.argsort(known)
    found = by_row[np.searchsorted(known, wanted, sorter=by_row).clip(max=len(known) - 1)]
    return np.where(known[found] == wanted, bucket.act[found], np.float16(0))
