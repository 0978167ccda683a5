"""F1 of every (unit, label, threshold) at once: which unit, above which threshold, stands for a label?

A unit says yes on a token where its value is above a threshold t. With the candidate thresholds of a unit in
ascending order, one histogram of its values over (threshold bin, label) holds the true positives of all of them:

    TP[u, j, l] = #{tokens of label l with value_u > t_j}        F1 = 2 TP / (yes + positives)

Thresholds and the choice among units are made on half A of the text; precision, recall and F1 are those of half B.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy import sparse

# Candidate thresholds of a feature: 0, and these shares of its positive values in half A lie below the others.
FEATURE_SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.96, 0.98, 0.99, 0.995)
# Of a neuron, whose zero means nothing: these shares of all its values in half A lie below.
NEURON_SHARES = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.985, 0.99, 0.995, 0.998, 0.999)
UNITS_AT_ONCE = 512  # features whose table (bins x labels) is in memory
NUMBERS_AT_ONCE = 2**20  # of raw activations
THREADS = min(8, os.cpu_count() or 1)  # the time goes into sparse products, which leave the interpreter alone


@dataclass(frozen=True, eq=False)
class Entries:
    """Values above zero of many units: (unit, token, value), sorted by unit."""

    unit: Int[np.ndarray, "n"]
    token: Int[np.ndarray, "n"]
    value: Float[np.ndarray, "n"]

    @classmethod
    def sorted(
        cls, unit: Shaped[np.ndarray, "n"], token: Shaped[np.ndarray, "n"], value: Shaped[np.ndarray, "n"]
    ) -> "Entries":
        """From entries in any order; a unit's own come out by ascending value."""
        order = np.lexsort((value, unit))
        return cls(unit[order], token[order], value[order])

    def units(self, first: int, stop: int) -> "Entries":
        """The entries of units [first, stop), renumbered from 0."""
        begin, end = np.searchsorted(self.unit, (first, stop))
        return Entries(self.unit[begin:end] - first, self.token[begin:end], self.value[begin:end])


@dataclass(frozen=True, eq=False)
class Block:
    """Some units on both halves, in bins: bin j holds values in (t_j, t_j+1]; values up to t_0 are left out."""

    thresholds: Float[np.ndarray, "units bins"]
    a: Entries
    b: Entries


@dataclass(frozen=True, eq=False)
class Scores:
    """The best threshold of each unit for each label, chosen on A, and what it does on B."""

    threshold: Float[np.ndarray, "units labels"]
    f1_a: Float[np.ndarray, "units labels"]
    true_b: Float[np.ndarray, "units labels"]
    yes_b: Float[np.ndarray, "units labels"]
    positives_b: Float[np.ndarray, "labels"]

    @property
    def f1_b(self) -> Float[np.ndarray, "units labels"]:
        return 2 * self.true_b / np.maximum(1, self.yes_b + self.positives_b)

    @property
    def precision(self) -> Float[np.ndarray, "units labels"]:
        return self.true_b / np.maximum(1, self.yes_b)

    @property
    def recall(self) -> Float[np.ndarray, "units labels"]:
        return self.true_b / np.maximum(1, self.positives_b)

    def labels(self, first: int, stop: int) -> "Scores":
        """The columns of labels [first, stop)."""
        tables = (self.threshold, self.f1_a, self.true_b, self.yes_b)
        threshold, f1_a, true_b, yes_b = (table[:, first:stop] for table in tables)
        return Scores(threshold, f1_a, true_b, yes_b, self.positives_b[first:stop])


def score(
    blocks: Iterable[Block],
    labels_a: Bool[np.ndarray, "labels tokens_a"],
    labels_b: Bool[np.ndarray, "labels tokens_b"],
) -> Scores:
    """Score every unit of `blocks` on every label."""
    y_a, y_b = (np.ascontiguousarray(labels.T, dtype=np.float32) for labels in (labels_a, labels_b))
    parts: list[tuple[np.ndarray, ...]] = []
    waiting: deque[Future] = deque()  # a block of neurons holds all of its numbers: only THREADS of them at a time
    with ThreadPoolExecutor(THREADS) as threads:
        for block in blocks:
            waiting.append(threads.submit(_score_block, block, y_a, y_b))
            if len(waiting) == THREADS:
                parts.append(waiting.popleft().result())
    parts += [score.result() for score in waiting]
    threshold, f1_a, true_b, yes_b = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Scores(threshold, f1_a, true_b, yes_b, positives_b=y_b.sum(axis=0))


def _score_block(
    block: Block, y_a: Float[np.ndarray, "tokens_a labels"], y_b: Float[np.ndarray, "tokens_b labels"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    true_a, yes_a = _above(block.a, block.thresholds, y_a)
    f1 = 2 * true_a / np.maximum(1, yes_a[:, :, None] + y_a.sum(axis=0))  # [units, bins, labels]
    best = f1.argmax(axis=1)  # [units, labels]
    true_b, yes_b = _above(block.b, block.thresholds, y_b)
    unit = np.arange(len(best))[:, None]
    chosen = np.take_along_axis(true_b, best[:, None], axis=1)[:, 0]
    return block.thresholds[unit, best], np.take_along_axis(f1, best[:, None], axis=1)[:, 0], chosen, yes_b[unit, best]


def _above(
    values: Entries, thresholds: Float[np.ndarray, "units bins"], y: Float[np.ndarray, "tokens labels"]
) -> tuple[Float[np.ndarray, "units bins labels"], Float[np.ndarray, "units bins"]]:
    """How many tokens of each label, and how many in all, each unit says yes to at each threshold."""
    units, bins = thresholds.shape
    bin_of = np.full(len(values.unit), -1, dtype=np.int64)
    for column in thresholds.T:
        bin_of += column[values.unit] < values.value
    kept = bin_of >= 0
    cell = values.unit[kept] * bins + bin_of[kept]
    ones = np.ones(len(cell), dtype=np.float32)
    table = sparse.csr_matrix((ones, (cell, values.token[kept])), shape=(units * bins, len(y)))
    by_label = np.asarray(table @ y).reshape(units, bins, -1)
    in_all = np.bincount(cell, minlength=units * bins).reshape(units, bins).astype(np.float32)
    return by_label[:, ::-1].cumsum(axis=1)[:, ::-1], in_all[:, ::-1].cumsum(axis=1)[:, ::-1]


def feature_blocks(a: Entries, b: Entries, n_features: int) -> Iterator[Block]:
    """The features of an SAE, by their activations above zero on each half."""
    for first in range(0, n_features, UNITS_AT_ONCE):
        stop = min(first + UNITS_AT_ONCE, n_features)
        part = a.units(first, stop)
        yield Block(_feature_thresholds(part, stop - first), part, b.units(first, stop))


def _feature_thresholds(values: Entries, units: int) -> Float[np.ndarray, "units bins"]:
    begin = np.searchsorted(values.unit, np.arange(units))[:, None]
    count = np.bincount(values.unit, minlength=units)[:, None]
    rank = np.floor(count * np.array(FEATURE_SHARES)).astype(np.int64)  # so many lie at or below the threshold
    padded = np.append(values.value, np.float32(0))
    return np.where(rank > 0, padded[np.where(rank > 0, begin + rank - 1, 0)], np.float32(0))


def neuron_blocks(a: Float[np.ndarray, "tokens_a d"], b: Float[np.ndarray, "tokens_b d"]) -> Iterator[Block]:
    """The raw dimensions of the site, both signs: unit 2i is +x_i, unit 2i+1 is -x_i."""
    at_once = max(1, NUMBERS_AT_ONCE // len(a))
    for first in range(0, a.shape[1], at_once):
        both = [_signed(x[:, first : first + at_once]) for x in (a, b)]
        thresholds = np.quantile(both[0], NEURON_SHARES, axis=0).T.astype(np.float32)
        yield Block(np.ascontiguousarray(thresholds), *(_entries(x) for x in both))


def _signed(x: Float[np.ndarray, "tokens d"]) -> Float[np.ndarray, "tokens units"]:
    return np.stack([x, -x], axis=2).reshape(len(x), -1)


def _entries(x: Float[np.ndarray, "tokens units"]) -> Entries:
    tokens, units = x.shape
    unit, token = np.repeat(np.arange(units), tokens), np.tile(np.arange(tokens), units)
    return Entries(unit, token, np.ascontiguousarray(x.T).ravel())
