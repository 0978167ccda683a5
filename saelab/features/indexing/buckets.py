"""Stages 2 and 3: from activations by token to activations by feature, without ever sorting more than one bucket.

Each part's keys are grouped by bucket into one flat file with offsets; then each bucket gathers its slice of every
part, sorts, and is written. Both are independent per file, so either goes on where it was stopped.
"""

from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from saelab.features import marked
from saelab.features.indexing.codes import read_codes
from saelab.features.indexing.job import Job
from saelab.features.indexing.keys import Buckets

COLUMNS = ("feature", "act", "row")


@dataclass(frozen=True, eq=False)
class Bucket:
    """The activations of `features`, sorted by feature, then act descending, then row.

    Those of feature features[i] stand at bounds[i] to bounds[i + 1]; `local` is i for each.
    """

    features: range
    local: np.ndarray
    act: np.ndarray
    row: np.ndarray
    bounds: np.ndarray


def activations(job: Job) -> int:
    """How many there are, known once every part of the codes is done."""
    return sum((marked.facts(job.layout.codes(part)) or {"rows": 0})["rows"] for part in range(job.n_parts))


def plan(job: Job) -> Buckets:
    """How features are shared out."""
    return Buckets.plan(job.n_features, job.n_tokens, activations(job), job.cfg.bucket_rows)


def write_buckets(job: Job, buckets: Buckets) -> None:
    """Every by-feature file that is not done yet."""
    missing = [b for b in range(buckets.count) if marked.facts(job.layout.bucket(b)) is None]
    if missing:
        job.progress.start("grouping by feature", job.n_parts, "parts")
        for part in range(job.n_parts):
            if marked.facts(job.layout.keys(part)) is None:
                _write_keys(job, buckets, part)
            job.progress.advance(1)
        job.progress.start("sorting", buckets.count, "buckets")
        for bucket in range(buckets.count):
            if bucket in missing:
                _write_bucket(job, buckets, bucket)
            job.progress.advance(1)
    if job.layout.keys(0).parent.exists():
        rmtree(job.layout.keys(0).parent)


def _write_keys(job: Job, buckets: Buckets, part: int) -> None:
    chunks = list(read_codes(job.layout.codes(part)))
    row, feature, act = (np.concatenate(column) for column in zip(*chunks, strict=True))
    home = feature // np.uint32(buckets.width)
    keys = buckets.pack(row, feature, act)[np.argsort(home, kind="stable")]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(home, minlength=buckets.count))])

    def write(tmp: Path) -> dict[str, Any]:
        keys.tofile(tmp)
        return {"offsets": offsets.tolist()}

    marked.put(job.layout.keys(part), write)


def _write_bucket(job: Job, buckets: Buckets, bucket: int) -> None:
    keys = np.concatenate([_slice(job.layout.keys(part), bucket) for part in range(job.n_parts)])
    keys.sort()
    row, local, act = buckets.unpack(keys)
    feature = (local + buckets.features(bucket).start).astype(np.uint32)
    marked.put_table(job.layout.bucket(bucket), pa.table(dict(zip(COLUMNS, (feature, act, row), strict=True))))


def _slice(path: Path, bucket: int) -> np.ndarray:
    known = marked.facts(path)
    assert known is not None, path
    first, last = known["offsets"][bucket : bucket + 2]
    return np.fromfile(path, np.uint64, count=last - first, offset=8 * first)


def read_bucket(job: Job, buckets: Buckets, bucket: int) -> Bucket:
    """One by-feature file, whole."""
    table = pq.read_table(job.layout.bucket(bucket))
    features = buckets.features(bucket)
    local = table["feature"].to_numpy().astype(np.int64) - features.start
    bounds = np.searchsorted(local, np.arange(len(features) + 1))
    return Bucket(features, local, table["act"].to_numpy(), table["row"].to_numpy(), bounds)
