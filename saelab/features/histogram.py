"""How strongly a feature fires: counts in bins that are the same for every feature, SAE and corpus.

Four bins per factor of two from 2^-12 to 2^16 and one bin below; half precision, in which activations are kept,
ends at 2^16. Because the edges never move, histograms of parts add up to the histogram of the whole.
"""

from collections.abc import Sequence

import duckdb
import numpy as np

from saelab.features.records import Histogram

EDGES = np.concatenate([[0.0], 2.0 ** (np.arange(-48, 65) / 4)])
DENSITY_EDGES = 10.0 ** (np.arange(-32, 1) / 4)  # four bins per factor of ten, 1e-8 to 1


def histogram(first: int, counts: Sequence[int]) -> Histogram:
    """Counts of one feature's activations above zero, from bin `first` of `EDGES`, its first that holds any, on."""
    edges = EDGES[first : first + len(counts) + 1] if counts else EDGES[:0]
    return Histogram(tuple(edges.tolist()), tuple(counts))


def density_histogram(cursor: duckdb.DuckDBPyConnection) -> Histogram:
    """Features by density, those left out that never fire."""
    density = cursor.execute("select density from features where count > 0").fetchnumpy()["density"]
    place = np.searchsorted(DENSITY_EDGES, np.asarray(density), side="right") - 1
    counts = np.bincount(place.clip(0, len(DENSITY_EDGES) - 2), minlength=len(DENSITY_EDGES) - 1)
    return Histogram(tuple(DENSITY_EDGES.tolist()), tuple(counts.tolist()))
