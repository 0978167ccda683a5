"""The questions that the app's pages ask of an index, with arguments a reader would give, and how long each takes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from time import perf_counter, thread_time

import numpy as np

from saelab.contracts import Progress
from saelab.features import FeatureFilter, Index, Where

Ask = Callable[[], object]


@dataclass(frozen=True)
class QueryTime:
    """One kind of question: milliseconds it took half of the times, and 95 times of 100 at most.

    `cpu_p95_ms` counts the processor's time alone: what p95 would be if nothing else ran on the machine.
    """

    name: str
    asked: int
    p50_ms: float
    p95_ms: float
    cpu_p95_ms: float


def questions(index: Index, seed: int = 0) -> dict[str, Iterator[Ask]]:
    """By name, an endless run of questions with other arguments each time."""
    random = np.random.default_rng(seed)
    fires = np.flatnonzero(index.counts())
    features = [int(f) for f in random.choice(fires, min(500, len(fires)), replace=False)]
    words = [f"word{n}" for n in random.integers(10, 9999, 50)]
    orders = ("density", "max", "mean", "cosine", "f1", "label")

    def each(make: Callable[[int], Ask]) -> Iterator[Ask]:
        return (make(feature) for feature in cycle(features))

    return {
        "feature: card (examples, neighbours, logits)": each(lambda f: lambda: index.card(f)),
        "feature: statistics": each(lambda f: lambda: index.stats(f)),
        "feature: examples by interval": each(lambda f: lambda: index.card(f, examples=1).quantiles),
        "table: a page, sorted": each(
            lambda f: lambda: index.features(orders[f % len(orders)], bool(f % 2), limit=100, offset=100 * (f % 9))
        ),
        "table: a page, sorted and filtered": each(
            lambda f: lambda: index.features("max", where=FeatureFilter(min_density=1e-5 * (1 + f % 50), alive=True))
        ),
        "atlas: a filter, counted": each(
            lambda f: lambda: index.features("max", where=Where.parse(f"density > 1e-4 and max > {f % 7}"), limit=50)
        ),
        "search: labels": each(lambda f: lambda: index.search_label(f"kind {f % 41}")),
        "search: tokens promoted": ((lambda word=word: index.search_promoted(word)) for word in cycle(words)),
        "overview: how densities are spread": each(lambda f: index.density_histogram),
        "overview: dead features": each(lambda f: lambda: index.features(where=FeatureFilter(alive=False), limit=0)),
        "steer: maxima of eight features": each(lambda f: lambda: index.maximum(features[:8])),
    }


def time_queries(index: Index, times: int, progress: Progress) -> tuple[QueryTime, ...]:
    """Every kind of question asked `times` times, in turn, so that a busy moment of the machine meets them all."""
    asked = questions(index)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in asked}
    for question in asked.values():
        next(question)()  # what is read once per opening is counted there
    progress.start("queries", times, "rounds")
    for _ in range(times):
        for name, question in asked.items():
            ask = next(question)
            began, used = perf_counter(), thread_time()
            ask()
            found[name].append((1000 * (perf_counter() - began), 1000 * (thread_time() - used)))
        progress.advance(1)
    return tuple(_summed_up(name, np.array(pairs)) for name, pairs in found.items())


def _summed_up(name: str, ms: np.ndarray) -> QueryTime:
    (p50, p95), cpu = np.percentile(ms[:, 0], (50, 95)), np.percentile(ms[:, 1], 95)
    return QueryTime(name, len(ms), float(p50), float(p95), float(cpu))
