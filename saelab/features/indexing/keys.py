"""Sort keys: one 64-bit number whose order is (feature, activation descending, row).

    key = local << (15 + row_bits) | (0x7fff - bits(act)) << row_bits | row

`local` counts features from the bucket's first. Half-precision numbers above zero are ordered as their 15 bits are, so
a plain integer sort gives the total order; without the row in it, equal activations would come in any order.
"""

from dataclasses import dataclass

import numpy as np

ACT_BITS = 15
ACT_MASK = (1 << ACT_BITS) - 1


@dataclass(frozen=True)
class Buckets:
    """Features shared out evenly: bucket b holds features b * width to (b + 1) * width."""

    n_features: int
    n_tokens: int
    width: int

    @classmethod
    def plan(cls, n_features: int, n_tokens: int, activations: int, per_bucket: int) -> "Buckets":
        """About `per_bucket` activations each, and few enough features each that a key fits 64 bits."""
        buckets = min(n_features, max(1, -(-activations // per_bucket)))
        plan = cls(n_features, n_tokens, -(-n_features // buckets))
        while plan.width > 1 and plan._local_bits + ACT_BITS + plan.row_bits > 64:
            plan = cls(n_features, n_tokens, -(-plan.width // 2))
        return plan

    @property
    def count(self) -> int:
        return -(-self.n_features // self.width)

    @property
    def row_bits(self) -> int:
        return max(1, (self.n_tokens - 1).bit_length())

    @property
    def _local_bits(self) -> int:
        return (self.width - 1).bit_length()

    def features(self, bucket: int) -> range:
        """The features of one bucket."""
        return range(bucket * self.width, min((bucket + 1) * self.width, self.n_features))

    def pack(self, row: np.ndarray, feature: np.ndarray, act: np.ndarray) -> np.ndarray:
        """Keys of activations, each to be sorted within its own bucket."""
        local = (feature % self.width).astype(np.uint64)
        falling = (ACT_MASK - act.view(np.uint16)).astype(np.uint64)
        shift = np.uint64(self.row_bits)
        return (local << np.uint64(ACT_BITS) | falling) << shift | row.astype(np.uint64)

    def unpack(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(row, local feature, act) of keys."""
        shift = np.uint64(self.row_bits)
        row = (keys & np.uint64((1 << self.row_bits) - 1)).astype(np.int64)
        rest = keys >> shift
        act = (ACT_MASK - (rest & np.uint64(ACT_MASK))).astype(np.uint16).view(np.float16)
        return row, (rest >> np.uint64(ACT_BITS)).astype(np.int64), act
