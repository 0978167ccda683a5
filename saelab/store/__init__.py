"""Activation stores: rows on disk, read back in shuffled batches or by SQL. Knows no model, no SAE."""

from saelab.store.layout import gradient_of
from saelab.store.reader import Reader
from saelab.store.shard import ShardColumns
from saelab.store.store import Store
from saelab.store.writer import StoreWriter

__all__ = ["Reader", "ShardColumns", "Store", "StoreWriter", "gradient_of"]
