"""A bed's rows as an activation store: what reads stores reads known features, too."""

from pathlib import Path

import torch

from saelab.contracts import Progress, Silent
from saelab.store import ShardColumns, Store, StoreWriter
from saelab.synthetic.beds.base import Bed
from saelab.synthetic.rows import FIRST, HELDOUT, SITE, SyntheticRows

SHARD_ROWS, DOCUMENT = 65_536, 256  # rows of a shard, and of what stands for a document


def write_store(bed: Bed, out: Path, rows: int, heldout: int = 8192, progress: Progress | None = None) -> Store:
    """Write `rows` training rows and `heldout` others to `out`, or what is missing of them.

    Raises StoreMismatch when `out` holds another store.
    """
    progress = progress or Silent()
    origin = SyntheticRows(bed).origin()
    writer = StoreWriter.begin(
        out,
        config={**origin["harvest"], "rows": rows, "heldout_rows": heldout, "context": DOCUMENT},
        model={"name": origin["model_name"], "fingerprint": origin["hash"], "n_layers": 1, "context": DOCUMENT},
        corpus={"fingerprint": origin["hash"], "licence": "none: made by a random number generator"},
        sites={SITE: bed.d},
        dtype="float32",
    )
    with writer:
        if writer.complete():
            progress.note(f"{out} holds these rows already")
            return Store.open(out)
        progress.start("drawing rows", rows + heldout, "rows")
        for split, count in (("train", rows), ("heldout", heldout)):
            for number, start in enumerate(range(0, count, SHARD_ROWS)):
                some = min(SHARD_ROWS, count - start)
                if not writer.done(split, number):
                    draw = HELDOUT if split == "heldout" else FIRST
                    x = bed.draw(some, draw + (number << 40)).x
                    writer.write_shard(split, number, _columns(start, some), {SITE: x})
                progress.advance(some)
            if count:
                writer.write_documents(split, {i: f"{split}-{i}" for i in range(-(-count // DOCUMENT))})
        return writer.finish()


def _columns(first: int, rows: int) -> ShardColumns:
    """Places of rows first, first + 1, ...; there are no tokens, so all are token 0."""
    number = torch.arange(first, first + rows)
    doc = number // DOCUMENT
    first_ctx = first // DOCUMENT
    return ShardColumns(
        doc, number % DOCUMENT, doc, torch.zeros_like(number), first, first_ctx, int(doc[-1]) - first_ctx + 1
    )
