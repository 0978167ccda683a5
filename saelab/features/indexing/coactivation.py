"""Stage 7: which features fire on the same tokens, counted on a sample of tokens.

    jaccard(a, b) = tokens on which both fire / tokens on which either fires

The sample takes every n-th token of the store, with a larger n when rows are so dense that counting all pairs would
take more than about `PAIRS` steps. Pairs seen together on fewer than `min_together` tokens are chance, and left out.
"""

import math
from itertools import pairwise

import numpy as np
import pyarrow as pa
from scipy import sparse

from saelab.features import marked
from saelab.features.indexing.codes import read_codes
from saelab.features.indexing.job import Job

PAIRS = 1 << 28  # a few seconds of counting
TYPES = {"together": pa.int32(), "together_jaccard": pa.float64(), "together_count": pa.int32()}
BLOCK = 1024  # features counted against all others at once


def write_coactivation(job: Job) -> None:
    """One row per feature, unless it is done."""
    path = job.layout.table("coactive")
    if marked.facts(path) is not None:
        return
    job.progress.start("co-activation", job.n_features, "features")
    fires = sample(job)
    together: dict[str, list] = {name: [] for name in TYPES}
    for start in range(0, job.n_features, BLOCK):
        stop = min(start + BLOCK, job.n_features)
        _append(together, fires, start, stop, job)
        job.progress.advance(stop - start)
    columns = {name: pa.array(together[name], pa.list_(kind)) for name, kind in TYPES.items()}
    features = np.arange(job.n_features, dtype=np.int32)
    marked.put_table(path, pa.table({"feature": features, **columns}))


def sample(job: Job) -> sparse.csc_matrix:
    """1 where a sampled token fires a feature, [tokens, d_sae]."""
    stride = -(-job.n_tokens // job.cfg.coactive_tokens)
    rows, features = [], []
    for part in range(job.n_parts):
        for row, feature, _ in read_codes(job.layout.codes(part)):
            taken = row % stride == 0
            rows.append(row[taken] // stride)
            features.append(feature[taken])
    row, feature = np.concatenate(rows), np.concatenate(features)
    pairs = float((np.bincount(row).astype(np.float64) ** 2).sum())
    thinner = max(1, math.ceil(pairs / PAIRS))
    taken = row % thinner == 0
    ones = np.ones(int(taken.sum()), dtype=np.int32)
    tokens = -(-job.n_tokens // (stride * thinner))
    return sparse.csc_matrix((ones, (row[taken] // thinner, feature[taken])), shape=(tokens, job.n_features))


def _append(together: dict[str, list], fires: sparse.csc_matrix, start: int, stop: int, job: Job) -> None:
    fired = np.asarray(fires.sum(axis=0)).ravel()
    both = (fires[:, start:stop].T @ fires).tocoo()
    mine, other, count = both.row, both.col, both.data
    kept = (count >= job.cfg.min_together) & (mine + start != other)
    mine, other, count = mine[kept], other[kept], count[kept]
    jaccard = count / (fired[mine + start] + fired[other] - count)
    order = np.lexsort((other, -jaccard, mine))
    bounds = np.searchsorted(mine[order], np.arange(stop - start + 1))
    for first, last in pairwise(bounds.tolist()):
        best = order[first : min(last, first + job.cfg.coactive)]
        together["together"].append(other[best])
        together["together_jaccard"].append(jaccard[best])
        together["together_count"].append(count[best])
