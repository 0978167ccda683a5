"""Stage 1: encode the store's rows once, and keep what fires: (row, feature, act) by token, a file per part.

A row costs what it fires on, not what the SAE is wide. Activations are kept in half precision (enough to rank by, a
third of the bytes); the few outside its range are moved to its ends, so that what fires stays above zero, and counted.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from saelab.contracts import Codes
from saelab.features import marked
from saelab.features.indexing.job import Job

SCHEMA = pa.schema([("row", pa.int64()), ("feature", pa.uint32()), ("act", pa.float16())])
SMALLEST, LARGEST = 2.0**-24, 65504.0  # half precision's range above zero


def write_codes(job: Job) -> None:
    """Every part that is not done yet."""
    job.progress.start("encoding", job.n_tokens, "rows")
    outside = 0
    for part in range(job.n_parts):
        start = part * job.cfg.part_rows
        stop = min(start + job.cfg.part_rows, job.n_tokens)
        known = marked.facts(job.layout.codes(part)) or _write_part(job, part, start, stop)
        outside += known["outside_half_precision"]
        job.progress.advance(stop - start)
    if outside:
        job.progress.note(f"{outside:,} activations above {LARGEST:g} are kept as {LARGEST:g} (half precision)")


def _write_part(job: Job, part: int, start: int, stop: int) -> dict[str, Any]:
    def write(tmp: Path) -> dict[str, Any]:
        known = {"rows": 0, "outside_half_precision": 0}
        with pq.ParquetWriter(tmp, SCHEMA, compression="zstd") as writer:
            for at in range(start, stop, job.cfg.chunk_rows):
                table, outside = _encode(job, at, min(at + job.cfg.chunk_rows, stop))
                known["rows"] += table.num_rows
                known["outside_half_precision"] += outside
                writer.write_table(table)
        return known

    return marked.put(job.layout.codes(part), write)


@torch.inference_mode()
def _encode(job: Job, start: int, stop: int) -> tuple[pa.Table, int]:
    row, feature, act = active(job.codes(start, stop))
    kept = act.clamp(SMALLEST, LARGEST).half().numpy()
    columns = [(row + start).numpy(), feature.numpy().astype(np.uint32), kept]
    return pa.table(columns, schema=SCHEMA), int((act > LARGEST).sum())


def active(codes: Codes) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(row, feature, activation) of all that fires, by row and then by feature, on the CPU."""
    fires = codes.mask & (codes.val > 0)
    row = torch.arange(len(codes.idx), device=codes.idx.device).unsqueeze(1).expand_as(codes.idx)
    return row[fires].cpu(), codes.idx[fires].cpu().long(), codes.val[fires].cpu().float()


def read_codes(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(row, feature, act) of one part, a chunk at a time."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            yield tuple(table[name].to_numpy() for name in ("row", "feature", "act"))  # type: ignore[misc]
