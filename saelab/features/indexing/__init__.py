"""Build the index of a checkpoint: one pass over the store's rows, then everything from what that pass left on disk.

Every stage writes parts with markers and skips those that are done, so the same command goes on after kill -9 and
ends with the same bits in every part.
"""

from pathlib import Path

import torch

from saelab.atomic import as_disk_full, require_free, sweep_tmp
from saelab.contracts import Progress, Silent
from saelab.errors import FeatureIndexError
from saelab.features import marked
from saelab.features.config import IndexConfig
from saelab.features.index import Index
from saelab.features.indexing.buckets import activations, plan, write_buckets
from saelab.features.indexing.coactivation import write_coactivation
from saelab.features.indexing.codes import write_codes
from saelab.features.indexing.database import publish_database
from saelab.features.indexing.job import Job
from saelab.features.indexing.logits import write_logits
from saelab.features.indexing.pages import write_pages
from saelab.features.indexing.weights import write_weights
from saelab.features.indexing.words import write_words
from saelab.lm import LanguageModel
from saelab.locks import alone
from saelab.sae import SAE
from saelab.store import Store

BYTES_PER_ACTIVATION = 16  # keys and by-feature file, while both are there


def build_index(
    checkpoint: Path,
    store: Store,
    out: Path,
    lm: LanguageModel | None = None,
    progress: Progress | None = None,
    *,
    cfg: IndexConfig | None = None,
    device: str = "auto",
) -> Index:
    """The index of `checkpoint` over the rows of `store`, in the folder `out`; goes on where an earlier call stopped.

    Without `lm` there are no token strings and no logit effects. Raises StoreMismatch when the three do not belong
    together, DiskFull when there is no room.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    sae = SAE.load(checkpoint).to(device)
    sae.require_rows("an index")
    job = Job(sae, checkpoint, store, lm, out, cfg or IndexConfig(), progress or Silent())
    job.check()
    try:
        out.mkdir(parents=True, exist_ok=True)
        with alone(out, FeatureIndexError):
            build(job)
    except Exception as error:  # DuckDB has an error of its own for a full disk
        raise as_disk_full(error, out) from error
    return Index.open(out)


def build(job: Job) -> None:
    """Every stage in order."""
    sweep_tmp(job.root)
    write_codes(job)
    buckets = plan(job)
    if any(marked.facts(job.layout.bucket(bucket)) is None for bucket in range(buckets.count)):
        require_free(job.root, BYTES_PER_ACTIVATION * activations(job))
    write_buckets(job, buckets)
    write_pages(job, buckets)
    write_weights(job)
    write_logits(job)
    write_coactivation(job)
    write_words(job, buckets)
    publish_database(job, buckets)
