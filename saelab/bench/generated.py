"""A run made by code, as large as asked for: a store of tokens, an SAE with random weights, and which features fire.

A row draws k times from p(feature of rank r) ~ 1 / r and fires each feature drawn once, at an exponentially distributed
activation of the feature's own scale. So a few features fire almost everywhere and most of them rarely, as in trained
SAEs; the last fiftieth of the ranks never fires. Everything is a function of (seed, row chunk): a build can go on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from saelab.contracts import Codes, Progress
from saelab.errors import FeatureIndexError
from saelab.features import IndexConfig, write_labels
from saelab.features.indexing import build
from saelab.features.indexing.job import Job
from saelab.lm import LanguageModel
from saelab.locks import alone
from saelab.sae import VARIANTS, sae_config
from saelab.store import ShardColumns, Store, StoreWriter

SITE = "blocks.0.hook_resid_post"
CONTEXT, PER_DOCUMENT, SHARD = 256, 4, 131_072  # tokens, contexts, rows
DEAD, LABELLED = 50, 3  # one feature in so many


@dataclass(frozen=True)
class Shape:
    """How large the generated run is; `activations` is what is expected, the draws decide."""

    features: int = 65_536
    activations: int = 33_000_000
    k: int = 32
    d_in: int = 256
    vocabulary: int = 16_384


@dataclass(eq=False)
class Firing:
    """Which features fire on which rows; `seconds` adds up what generating took."""

    shape: Shape
    seconds: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        random, alive = np.random.default_rng(0), self.shape.features - self.shape.features // DEAD
        share = 1 / np.arange(1, alive + 1)
        share /= share.sum()
        self._of_rank = random.permutation(self.shape.features)[:alive].astype(np.int32)
        self._scale = random.lognormal(0, 0.5, self.shape.features).astype(np.float32)
        self._up_to = share.cumsum()
        self.per_row = float((1 - (1 - share) ** self.shape.k).sum())

    @property
    def rows(self) -> int:
        """Rows on which about `shape.activations` features fire, all in all."""
        return max(CONTEXT, round(self.shape.activations / self.per_row))

    def codes(self, start: int, stop: int) -> Codes:
        """What fires on rows start to stop; what was drawn twice on a row counts once (the second has value 0)."""
        began = perf_counter()
        random, size = np.random.default_rng([1, start]), (stop - start, self.shape.k)
        rank = np.searchsorted(self._up_to, random.random(size)).clip(max=len(self._of_rank) - 1)
        idx = np.sort(self._of_rank[rank], axis=1)
        val = self._scale[idx] * random.standard_exponential(size, dtype=np.float32)
        val[:, 1:][idx[:, 1:] == idx[:, :-1]] = 0
        self.seconds += perf_counter() - began
        return Codes(torch.from_numpy(idx), torch.from_numpy(val), self.shape.features)


@dataclass(frozen=True, eq=False)
class GeneratedJob(Job):
    """A build whose sparse batches are generated instead of encoded."""

    firing: Firing

    def codes(self, start: int, stop: int) -> Codes:
        return self.firing.codes(start, stop)


class Vocabulary(LanguageModel):
    """A language model as far as an index needs one: token strings, and directions of the tokens in random weights."""

    def __init__(self, shape: Shape) -> None:
        self.name, self.fingerprint, self.n_vocab = "generated", "generated", shape.vocabulary
        random = torch.Generator().manual_seed(2)
        self._unembed = torch.randn(shape.d_in, shape.vocabulary, generator=random)
        self._gain = torch.ones(shape.d_in)

    @property
    def W_U(self) -> torch.Tensor:
        return self._unembed

    @property
    def final_gain(self) -> torch.Tensor:
        return self._gain

    def output_direction(self, site: str, W_dec: torch.Tensor) -> torch.Tensor:
        return W_dec

    def token_strings(self, ids: Any) -> list[str]:
        return [f" word{i}" for i in ids]


def generate(folder: Path, shape: Shape, progress: Progress) -> tuple[GeneratedJob, Path]:
    """DIR/store and DIR/sae/<name> of a run of this shape; the job that builds its index, and the checkpoint."""
    firing = Firing(shape)
    checkpoint = folder / "sae" / f"generated-{shape.features}"
    cfg = sae_config({"variant": "topk", "d_in": shape.d_in, "d_sae": shape.features, "k": shape.k})
    sae = VARIANTS["topk"](cfg, generator=torch.Generator().manual_seed(3))
    about = {"model_name": "generated", "hook_name": SITE, "context_size": CONTEXT}
    sae.save(checkpoint, about)
    sae.metadata = dict(about)
    store = _store(folder / "store", firing.rows, shape)
    index = folder / "index" / checkpoint.name
    return GeneratedJob(sae, checkpoint, store, Vocabulary(shape), index, IndexConfig(), progress, firing), checkpoint


def _store(path: Path, rows: int, shape: Shape) -> Store:
    """Tokens without activations (one zero each): what an SAE would make of them is generated."""
    model = {"name": "generated", "fingerprint": "generated"}
    with StoreWriter.begin(path, config={"rows": rows}, model=model, corpus={}, sites={SITE: 1}) as writer:
        for shard, start in enumerate(range(0, rows, SHARD)):
            if not writer.done("train", shard):
                columns = _columns(start, min(start + SHARD, rows), shape)
                writer.write_shard("train", shard, columns, {SITE: torch.zeros(len(columns.doc), 1).bfloat16()})
        last = -(-rows // CONTEXT) // PER_DOCUMENT
        writer.write_documents("train", {doc: f"generated/{doc:05d}.py" for doc in range(last + 1)})
        return writer.finish()


def _columns(start: int, stop: int, shape: Shape) -> ShardColumns:
    row = torch.arange(start, stop)
    ctx = row // CONTEXT
    token = torch.randint(shape.vocabulary, (len(row),), generator=torch.Generator().manual_seed(start))
    return ShardColumns(
        doc=ctx // PER_DOCUMENT, pos=row % CONTEXT, ctx=ctx, token=token, first_row=start, first_ctx=start // CONTEXT,
        contexts=int(ctx[-1] - ctx[0]) + 1,
    )  # fmt: skip


def build_index(job: GeneratedJob) -> None:
    """The index by the same stages as any other, and a label for every third feature."""
    job.root.mkdir(parents=True, exist_ok=True)
    with alone(job.root, FeatureIndexError):
        build(job)
    labels = {
        feature: {"label": f"kind {feature % 41}", "f1": (feature % 97) / 97}
        for feature in range(0, job.n_features, LABELLED)
    }
    write_labels(job.root, labels)


@contextmanager
def peak_memory() -> Iterator[dict[str, int]]:
    """Fills in, when its block ends, the largest resident memory of this process while it ran (`peak`), in bytes.

    `before` is what was resident at its start. On Linux; elsewhere both stay 0.
    """
    status, found = Path("/proc/self/status"), {"before": 0, "peak": 0}
    if status.exists():
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak so far is forgotten (proc(5))
        found["before"] = _kilobytes(status, "VmRSS:")
    yield found
    if status.exists():
        found["peak"] = _kilobytes(status, "VmHWM:")


def _kilobytes(status: Path, name: str) -> int:
    line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])
