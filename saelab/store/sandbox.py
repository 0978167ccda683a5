"""DuckDB connections that can read what they were given and nothing else.

The order matters: folders are allowed first, then access to all others is switched off, then the settings are
locked, so that no query can undo it. Extensions are never fetched or loaded.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from saelab.errors import SaelabError

_READING = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.MULTI}


def connect(
    path: Path | None,
    allowed: Sequence[Path],
    *,
    read_only: bool = True,
    seconds: float | None = 5.0,
    memory: str = "2GB",
    threads: int = 2,
) -> duckdb.DuckDBPyConnection:
    """A connection to the database at `path` (None: in memory) that reaches only files below `allowed`.

    A query that runs longer than `seconds` or needs more than `memory` (and as much again on disk) is refused.
    """
    connection = duckdb.connect(":memory:" if path is None else str(path), read_only=read_only and path is not None)
    folders = ", ".join(literal(str(folder.resolve())) for folder in allowed)
    spill = Path(tempfile.gettempdir()) / "saelab-duckdb"
    for setting in (
        f"allowed_directories = [{folders}]",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "allow_community_extensions = false",
        f"temp_directory = {literal(str(spill))}",
        f"memory_limit = {literal(memory)}",
        f"max_temp_directory_size = {literal(memory)}",
        f"threads = {threads}",
        f"max_execution_time = {round(1000 * seconds) if seconds else 0}",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        connection.execute(f"set {setting}")
    return connection


def literal(text: str) -> str:
    """`text` as a string in SQL, for the few places that take no bound parameter: settings and views."""
    return "'" + text.replace("'", "''") + "'"


def select(connection: duckdb.DuckDBPyConnection, query: str, refused: type[SaelabError]) -> pa.Table:
    """The answer to one statement that only reads. Raises `refused`, in one line, for everything else."""
    try:
        statements = connection.extract_statements(query)
        if len(statements) != 1 or statements[0].type not in _READING:
            kinds = ", ".join(statement.type.name for statement in statements) or "nothing"
            raise refused(f"one SELECT is answered here, not {kinds}: {query!r}")
        return connection.sql(query).to_arrow_table()
    except duckdb.Error as error:
        raise refused(f"SQL: {str(error).splitlines()[0]}") from None
