"""SQL over an index: the pages' tables, and every single activation."""

import pyarrow as pa

from saelab.errors import FeatureIndexError
from saelab.features.generation import Generation
from saelab.store.sandbox import literal, select


def answer(generation: Generation, query: str) -> pa.Table:
    """The answer to one SELECT. Raises FeatureIndexError for any other statement, and for one that fails."""
    files = literal(str(generation.layout.bucket(0).parent.resolve() / "*.parquet"))
    with generation.cursor() as cursor:
        cursor.execute(f"create temp view activations as select * from read_parquet({files})")
        return select(cursor, query, FeatureIndexError)
