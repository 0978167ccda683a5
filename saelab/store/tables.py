"""SQL over parquet files that belong to no store: each name a view of one or more files of one schema."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from saelab.errors import StoreError
from saelab.store.sandbox import connect, literal, select

SECONDS = 20.0


def answer(root: Path, views: Mapping[str, Sequence[Path]], query: str) -> pa.Table:
    """The answer to one SELECT over `views`, whose files lie below `root`. Raises StoreError for anything else."""
    connection = connect(None, [root.resolve()], seconds=SECONDS)
    try:
        for name, files in views.items():
            paths = ", ".join(literal(str(file.resolve())) for file in files)
            connection.execute(f"create view {name} as select * from read_parquet([{paths}])")
        return select(connection, query, StoreError)
    finally:
        connection.close()
