"""What the app's pages cost on a large index: every query, a page as the server draws it, opening, and the build.

The index is of a run made by code (saelab.bench.generated), through the same stages as any other; no language model
runs. What is given as one figure of all queries is the slowest kind's.
"""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from saelab.atomic import write_json
from saelab.bench.app_open import seconds_to_open
from saelab.bench.app_queries import QueryTime, time_queries
from saelab.bench.generated import GeneratedJob, Shape, build_index, generate, peak_memory
from saelab.bench.machine import machine
from saelab.contracts import Progress, Silent
from saelab.features import Index
from saelab.features.layout import current, database

Render = Callable[[Path, Sequence[int]], list[float]]  # (run folder, features) -> seconds of each page
TARGETS = {"query_p95_ms": 10.0, "render_ms": 150.0, "open_ms": 1000.0, "bytes_per_feature": 8192.0}
BUILT = "bench-app.json"  # what building took, kept beside an index that is used again
OPENINGS, PAGES = 3, 12


@dataclass(frozen=True)
class Built:
    """What the build took: without making up the activations; memory is that of the whole process."""

    build_seconds: float
    generate_seconds: float
    build_peak_bytes: int
    before_build_bytes: int


@dataclass(frozen=True)
class AppBench:
    """`bytes_per_feature` counts the database that pages read; `index_bytes_per_feature` all files of the index."""

    features: int
    activations: int
    tokens: int
    query_p95_ms: float
    query_cpu_p95_ms: float
    atlas_ms: float
    render_ms: float | None
    render_p95_ms: float | None
    render_first_ms: float | None
    open_ms: float
    open_cpu_ms: float
    import_ms: float
    bytes_per_feature: float
    index_bytes_per_feature: float
    built: Built
    queries: tuple[QueryTime, ...]
    machine: dict[str, Any]

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Columns and rows for the terminal."""
        rows: list[list[Any]] = [[one.name, one.p50_ms, one.p95_ms, one.cpu_p95_ms, "ms", None] for one in self.queries]
        rows += [
            ["queries: the slowest kind", None, self.query_p95_ms, self.query_cpu_p95_ms, "ms",
             TARGETS["query_p95_ms"]],
            ["atlas: all that its charts draw", self.atlas_ms, None, None, "ms", None],
            ["feature page on the server (AppTest, warm)", self.render_ms, self.render_p95_ms, None, "ms",
             TARGETS["render_ms"]],
            ["feature page, the first of a process", self.render_first_ms, None, None, "ms", None],
            ["opening in a fresh process, imported", self.open_ms, None, self.open_cpu_ms, "ms", TARGETS["open_ms"]],
            ["starting and importing, of that process", self.import_ms, None, None, "ms", None],
            ["database", self.bytes_per_feature, None, None, "bytes/feature", TARGETS["bytes_per_feature"]],
            ["whole index, each activation twice", self.index_bytes_per_feature, None, None, "bytes/feature", None],
            ["building, without making up activations", self.built.build_seconds, None, None, "s", None],
            ["peak memory of the building process", self.built.build_peak_bytes / 1e6, None, None, "MB", None],
            ["of which before building", self.built.before_build_bytes / 1e6, None, None, "MB", None],
            [f"load of the machine's {self.machine['cores']} cores", self.machine["load"], None, None, "", None],
        ]  # fmt: skip
        return ["what", "median", "p95", "CPU time (p95)", "unit", "target"], rows

    def to_json(self) -> dict[str, Any]:
        """Every figure, the build's among the others."""
        values = asdict(self)
        built = values.pop("built")
        return {**values, **built, "targets": TARGETS, "missed": self.missed()}

    def missed(self) -> list[str]:
        """Targets that were not reached."""
        return [name for name, most in TARGETS.items() if (getattr(self, name) or 0.0) > most]


def bench_app(
    shape: Shape | None = None,
    out: Path | None = None,
    times: int = 100,
    render: Render | None = None,
    progress: Progress | None = None,
) -> AppBench:
    """Build the index of a generated run and ask it what pages ask.

    With `out` the run is kept there, and used again by the next call of the same shape. `render` draws feature pages
    of a run; without it no page is timed.
    """
    progress, shape = progress or Silent(), shape or Shape()
    with nullcontext(out) if out else TemporaryDirectory(prefix="saelab-bench-") as folder:
        job, _ = generate(Path(folder), shape, progress)
        built = _build(job)
        index = Index.open(job.root)
        progress.start("opening", OPENINGS, "processes")
        opened = [seconds_to_open(job.root) for _ in range(OPENINGS)]
        pages = _pages(render, Path(folder), index)
        queries = time_queries(index, times, progress)
        return AppBench(
            features=index.n_features,
            activations=int(index.counts().sum()),
            tokens=index.n_tokens,
            query_p95_ms=max(one.p95_ms for one in queries),
            query_cpu_p95_ms=max(one.cpu_p95_ms for one in queries),
            atlas_ms=1000 * median(_seconds(index.atlas) for _ in range(OPENINGS)),
            render_ms=1000 * median(pages[1:]) if pages else None,
            render_p95_ms=1000 * float(np.percentile(pages[1:], 95)) if pages else None,
            render_first_ms=1000 * pages[0] if pages else None,
            open_ms=1000 * median(one.seconds for one in opened),
            open_cpu_ms=1000 * median(one.cpu for one in opened),
            import_ms=1000 * median(one.before for one in opened),
            bytes_per_feature=database(job.root, index.generation).stat().st_size / index.n_features,
            index_bytes_per_feature=_size(job.root) / index.n_features,
            built=built,
            queries=queries,
            machine={**machine(), "load": os.getloadavg()[0]},
        )


def _build(job: GeneratedJob) -> Built:
    """Build the index, unless it is there, and what that took."""
    kept = job.root / BUILT
    now = current(job.root)
    if now is not None and now.key == job.layout.key and kept.is_file():
        job.progress.note(f"{job.root} is there already: building figures are those of then")
        build_index(job)  # which writes nothing, or the database alone where an older version made it
        return Built(**json.loads(kept.read_text(encoding="utf-8")))
    began = perf_counter()
    with peak_memory() as memory:
        build_index(job)
    made_up = job.firing.seconds
    built = Built(perf_counter() - began - made_up, made_up, memory["peak"], memory["before"])
    write_json(kept, asdict(built))
    return built


def _pages(render: Render | None, folder: Path, index: Index) -> list[float]:
    """Seconds of feature pages, the first of which also opens everything."""
    if render is None:
        return []
    fires = np.flatnonzero(index.counts())
    shown = np.random.default_rng(4).choice(fires, PAGES + 1)
    return render(folder, [int(feature) for feature in shown])


def _seconds(ask: Callable[[], object]) -> float:
    began = perf_counter()
    ask()
    return perf_counter() - began


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
