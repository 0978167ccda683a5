"""SQL over an index: the pages' tables, and every single activation."""

from pathlib import Path

import pyarrow as pa

from saelab.errors import FeatureIndexError
from saelab.features.generation import Generation, attach
from saelab.store.sandbox import literal, select

THREADS = 2
TABLES = ("histogram", "logits", "neighbours", "coactive")  # the lists of a card, as the build left them


def answer(generation: Generation, query: str) -> pa.Table:
    """The answer to one SELECT. Raises FeatureIndexError for any other statement, and for one that fails."""
    layout = generation.layout
    views = {
        "activations": "from " + _files(layout.bucket(0).parent),
        "examples": f"select examples.*, coalesce(documents.name, '') as document from "
        f"{_files(layout.table('examples').parent)} as examples left join documents using (doc) order by feature, rank",
        **{name: "from " + _files(layout.table(name).parent) for name in TABLES},
    }
    with attach(generation.layout.root, generation.path, THREADS) as connection:
        connection.execute("use app")
        for name, view in views.items():
            connection.execute(f"create temp view {name} as {view}")
        return select(connection, query, FeatureIndexError)


def _files(folder: Path) -> str:
    """The parquet files of a folder as a table of SQL."""
    return f"read_parquet({literal(str(folder.resolve() / '*.parquet'))})"
