"""Stage 4, which examples: per feature one token of each context, ordered; the strongest, and a sample of all.

A feature's peak in a context is its strongest activation there, the earliest of equals. Peaks are ranked by activation
descending, then row. The ranks are cut into groups of equal count, and from each group the peaks with the smallest
hash of (feature, row) are sampled: the same ones on every build, however the work was cut.
"""

from dataclasses import dataclass

import numpy as np

from saelab.features.config import IndexConfig
from saelab.features.indexing.buckets import Bucket
from saelab.features.indexing.job import Contexts


@dataclass(frozen=True, eq=False)
class Peaks:
    """Chosen peaks by feature and rank: local feature, row, rank, quantile (0 the weakest), and whether it was sampled.

    `contexts` counts, for every feature of the bucket, all its peaks, chosen or not.
    """

    local: np.ndarray
    row: np.ndarray
    rank: np.ndarray
    quantile: np.ndarray
    sampled: np.ndarray
    contexts: np.ndarray


def choose(bucket: Bucket, contexts: Contexts, cfg: IndexConfig) -> Peaks:
    """The peaks to show of every feature of one bucket."""
    pair = bucket.local * (len(contexts.starts) - 1) + contexts.of_row[bucket.row]
    _, first = np.unique(pair, return_index=True)  # the first of a pair is its strongest: the bucket is sorted so
    first.sort()
    local, row = bucket.local[first], bucket.row[first]
    count = np.bincount(local, minlength=len(bucket.features))
    rank = np.arange(len(local)) - (np.cumsum(count) - count)[local]
    quantile = cfg.quantiles - 1 - rank * cfg.quantiles // count[local]
    sampled = _sample(local * cfg.quantiles + quantile, _hash(local + bucket.features.start, row), cfg.per_quantile)
    kept = sampled | (rank < cfg.top)
    return Peaks(local[kept], row[kept], rank[kept], quantile[kept], sampled[kept], count)


def _sample(group: np.ndarray, order: np.ndarray, size: int) -> np.ndarray:
    """True for the `size` entries of each group that come first in `order`."""
    by_group = np.lexsort((order, group))
    sizes = np.bincount(group)
    place = np.arange(len(group)) - (np.cumsum(sizes) - sizes)[group[by_group]]
    chosen = np.zeros(len(group), dtype=bool)
    chosen[by_group[place < size]] = True
    return chosen


def _hash(feature: np.ndarray, row: np.ndarray) -> np.ndarray:
    """splitmix64 (Steele et al. 2014) of row and feature: 64 well-mixed bits."""
    z = row.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + feature.astype(np.uint64) * np.uint64(
        0xD1B54A32D192ED03
    )
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
