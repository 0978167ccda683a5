"""Harvest beside the bare model on the same contexts, and how fast a store is read back in shuffled batches.

The runs are interleaved and the ratio is taken pair by pair, so that a machine that gets busier meanwhile slows
both alike. The bare forward runs the same padded batches up to the same last site and drops what it computed;
harvesting does that and all the rest that grows with the tokens: reading text, tokenising, packing, rounding,
checksums, writing, fsync. Loading the model and fingerprinting the corpus, once per run, are left out.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from saelab.contracts import Progress, Silent
from saelab.corpora import Context
from saelab.harvest import HarvestConfig
from saelab.harvest.cost import load_model
from saelab.harvest.forward import padded_batches
from saelab.harvest.plan import SplitPlan
from saelab.harvest.run import Harvest
from saelab.lm import LanguageModel
from saelab.store import ShardColumns, Store, StoreWriter

READER_ROWS, READER_WIDTH, READER_SHARD, READER_BATCH = 131_072, 576, 32_768, 4096  # 151 MB of bf16


@dataclass(frozen=True)
class HarvestBench:
    """Medians over the repeats; `ratio` is the median of the pairs' ratios."""

    model: str
    sites: tuple[str, ...]
    tokens: int
    repeats: int
    threads: int
    logits_tokens_per_s: float
    forward_tokens_per_s: float
    harvest_tokens_per_s: float
    ratio: float
    reader_gb_per_s: float
    reader_best_gb_per_s: float

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Columns and rows for the terminal."""
        return ["what", "value", "unit"], [
            [f"{self.model}, forward to the logits", round(self.logits_tokens_per_s), "tokens/s"],
            [f"{self.model}, forward to {self.sites[-1]}", round(self.forward_tokens_per_s), "tokens/s"],
            [f"harvest of {len(self.sites)} sites", round(self.harvest_tokens_per_s), "tokens/s"],
            ["harvest / forward", round(self.ratio, 3), ""],
            ["reader, shuffled bf16 batches", round(self.reader_gb_per_s, 2), "GB/s"],
            ["reader, best repeat", round(self.reader_best_gb_per_s, 2), "GB/s"],
        ]

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return asdict(self)


def bench_harvest(
    model: str = "pico",
    tokens: int = 131_072,
    repeats: int = 3,
    progress: Progress | None = None,
    lm: LanguageModel | None = None,
) -> HarvestBench:
    """Time both on the last two blocks' outputs of `model`, over the default corpus."""
    progress = progress or Silent()
    progress.start("bench harvest", 2 * repeats, "runs")
    with TemporaryDirectory(prefix="saelab-bench-") as folder:
        values = {"model": model, "tokens": tokens, "heldout_tokens": 0, "shard_rows": max(1, tokens // 2)}
        cfg = HarvestConfig.model_validate(values)
        lm = lm or load_model(cfg)
        cfg = cfg.model_copy(update={"sites": [f"resid_post.{max(0, lm.n_layers - 2)}-{lm.n_layers - 1}"]})
        seconds = _time_harvest(cfg, lm, repeats, Path(folder), progress)
        store = _synthetic_store(Path(folder) / "reader")
        speeds = _time_reader(store, repeats, progress)
    return HarvestBench(
        model=model,
        sites=tuple(Harvest(cfg, Silent(), lm).widths),
        tokens=tokens,
        repeats=repeats,
        threads=torch.get_num_threads(),
        logits_tokens_per_s=tokens / median(logits for logits, _, _ in seconds),
        forward_tokens_per_s=tokens / median(forward for _, forward, _ in seconds),
        harvest_tokens_per_s=tokens / median(harvest for _, _, harvest in seconds),
        ratio=median(forward / harvest for _, forward, harvest in seconds),
        reader_gb_per_s=median(speeds),
        reader_best_gb_per_s=max(speeds),
    )


def forward_seconds(lm: LanguageModel, shards: list[list[Context]], batch: int, site: str) -> float:
    """Seconds that the bare model takes for these contexts, up to `site`."""
    return _seconds(lambda: _each_batch(shards, batch, lm, lambda ids: lm.activations(ids, [site])[site]))


def _time_harvest(
    cfg: HarvestConfig, lm: LanguageModel, repeats: int, folder: Path, progress: Progress
) -> list[tuple[float, float, float]]:
    """Seconds of (forward to the logits, forward to the last site, harvest), `repeats` times in turn."""
    whole = Harvest(cfg, Silent(), lm)
    last = list(whole.widths)[-1]
    shards = [shard.contexts for shard in SplitPlan(whole.corpus, "train", lm, cfg).shards()]

    forward_seconds(lm, shards, cfg.batch, last)  # the first pass sets things up
    found: list[tuple[float, float, float]] = []
    for repeat in range(repeats):
        logits = _seconds(lambda: _each_batch(shards, cfg.batch, lm, lm.logits))
        bare = forward_seconds(lm, shards, cfg.batch, last)
        with Harvest(cfg.model_copy(update={"out": folder / str(repeat)}), Silent(), lm).begin() as writer:
            found.append((logits, bare, _seconds(partial(_fill, cfg, lm, writer))))
        progress.advance(1)
    return found


def _fill(cfg: HarvestConfig, lm: LanguageModel, writer: StoreWriter) -> None:
    Harvest(cfg, Silent(), lm).fill(writer)
    writer.finish()


def _each_batch(
    shards: list[list[Context]], batch: int, lm: LanguageModel, run: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    out = torch.empty(0)
    for contexts in shards:
        for _, ids in padded_batches(contexts, batch, lm.bos or 0):
            out = run(ids.to(lm.device))
    out.flatten()[-1].item()  # waits for the device


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _synthetic_store(path: Path) -> Store:
    rows = torch.randn(READER_SHARD, READER_WIDTH, generator=torch.Generator().manual_seed(0)).bfloat16()
    number = torch.arange(READER_SHARD, dtype=torch.int32)
    with StoreWriter.begin(path, config={}, model={}, corpus={}, sites={"rows": READER_WIDTH}) as writer:
        for shard in range(READER_ROWS // READER_SHARD):
            columns = ShardColumns(
                doc=number * 0, pos=number, ctx=number // 256, token=number, first_row=shard * READER_SHARD,
                first_ctx=shard * READER_SHARD // 256, contexts=READER_SHARD // 256,
            )  # fmt: skip
            writer.write_shard("train", shard, columns, {"rows": rows})
        writer.write_documents("train", {0: "noise"})
        return writer.finish()


def _time_reader(store: Store, repeats: int, progress: Progress) -> list[float]:
    """GB/s of two epochs, `repeats` times; the file cache is warm, for the store was written just now."""
    reader = store.reader(["rows"], batch=READER_BATCH, seed=0)
    count = 2 * reader.batches_per_epoch
    gigabytes = count * READER_BATCH * READER_WIDTH * 2 / 1e9
    found: list[float] = []
    with closing(reader.batches()) as batches:
        next(batches)
        for _ in range(repeats):
            found.append(gigabytes / _seconds(lambda: _take(batches, count)))
            progress.advance(1)
    return found


def _take(batches: Iterator[dict[str, torch.Tensor]], count: int) -> None:
    for _ in range(count):
        next(batches)
