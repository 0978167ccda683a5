"""Four SAEs from one pass of the language model, beside what the pass and the four trainings cost one by one.

    ratio = sweep / (forward + training of each)

`forward` runs the same contexts up to the site and drops what it computes. Each single training reads the same rows
from a store; the sweep runs the model itself (`source: live`) and feeds every batch to all four. No held-out rows
are looked at, and everything is written to a temporary folder.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch

from saelab.bench.harvest import forward_seconds
from saelab.config import settings
from saelab.contracts import Progress, Silent
from saelab.harvest import HarvestConfig, harvest
from saelab.harvest.cost import load_model
from saelab.harvest.live import LiveRows
from saelab.harvest.plan import SplitPlan
from saelab.harvest.run import Harvest
from saelab.lm import LanguageModel
from saelab.store import Store
from saelab.train import RowSource, StoreRows, TrainConfig, train

KS, D_SAE = (8, 16, 32, 64), 2048


@dataclass(frozen=True)
class SweepBench:
    """Seconds, medians over the repeats."""

    model: str
    tokens: int
    ks: tuple[int, ...]
    d_sae: int
    repeats: int
    threads: int
    forward: float
    training: tuple[float, ...]
    sweep: float
    ratio: float

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Columns and rows for the terminal."""
        each = [[f"training k = {k} alone", round(s, 1)] for k, s in zip(self.ks, self.training, strict=True)]
        return ["what", "seconds"], [
            [f"{self.model}, forward of {self.tokens:,} tokens", round(self.forward, 1)],
            *each,
            ["all of these", round(self.forward + sum(self.training), 1)],
            [f"one pass feeding {len(self.ks)} SAEs", round(self.sweep, 1)],
            ["one pass / all of these", round(self.ratio, 3)],
        ]

    def to_json(self) -> dict[str, Any]:
        """Every figure."""
        return asdict(self)


def bench_sweep(
    model: str = "pico", tokens: int = 262_144, repeats: int = 1, progress: Progress | None = None,
    lm: LanguageModel | None = None,
) -> SweepBench:  # fmt: skip
    """Time TopK SAEs of four k on the default site of `model`, over the default corpus."""
    progress = progress or Silent()
    progress.start("bench sweep", repeats * (len(KS) + 2), "runs")
    cfg = HarvestConfig.model_validate({"model": model, "tokens": tokens, "heldout_tokens": 0})
    lm = lm or load_model(cfg)
    cfg = cfg.model_copy(update={"sites": [f"resid_post.{lm.n_layers // 2}"]})
    whole = Harvest(cfg, Silent(), lm)
    shards = [shard.contexts for shard in SplitPlan(whole.corpus, "train", lm, cfg).shards()]
    found: list[tuple[float, list[float], float]] = []
    with TemporaryDirectory(prefix="saelab-bench-") as folder:
        store = harvest(cfg.model_copy(update={"out": Path(folder) / "store"}), lm=lm)
        for repeat in range(repeats):
            forward = forward_seconds(lm, shards, cfg.batch, next(iter(whole.widths)))
            progress.advance(1)
            alone = []
            for k in KS:
                alone.append(_train([k], StoreRows(store), store, Path(folder) / f"{repeat}-{k}"))
                progress.advance(1)
            found.append((forward, alone, _train(KS, LiveRows(cfg, lm), store, Path(folder) / f"{repeat}-all")))
            progress.advance(1)
    return SweepBench(
        model=model,
        tokens=store.rows("train"),
        ks=KS,
        d_sae=D_SAE,
        repeats=repeats,
        threads=torch.get_num_threads(),
        forward=median(forward for forward, _, _ in found),
        training=tuple(median(times) for times in zip(*(alone for _, alone, _ in found), strict=True)),
        sweep=median(swept for _, _, swept in found),
        ratio=median(swept / (forward + sum(alone)) for forward, alone, swept in found),
    )


def _train(ks: Sequence[int], source: RowSource, store: Store, out: Path) -> float:
    """Seconds of one pass over the store's rows, or as many of another source."""
    values = {
        "sae": [{"variant": "topk", "d_sae": D_SAE, "k": k} for k in ks],
        "train": {"rows": store.rows("train")},
        "eval_every": 0,
        "out": str(out),
    }
    start = perf_counter()
    train(settings(TrainConfig, values, where="bench sweep"), source=source)
    return perf_counter() - start
