"""SQL over an index: the pages' tables, and every single activation."""

import pyarrow as pa

from saelab.errors import FeatureIndexError
from saelab.features.generation import Generation, attach
from saelab.store.sandbox import literal, select

THREADS = 2


def answer(generation: Generation, query: str) -> pa.Table:
    """The answer to one SELECT. Raises FeatureIndexError for any other statement, and for one that fails."""
    files = literal(str(generation.layout.bucket(0).parent.resolve() / "*.parquet"))
    with attach(generation.layout.root, generation.path, THREADS) as connection:
        connection.execute("use app")
        connection.execute(f"create temp view activations as select * from read_parquet({files})")
        return select(connection, query, FeatureIndexError)
