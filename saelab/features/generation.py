"""One published database, opened to be read."""

import json
import threading
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb

from saelab.errors import FeatureIndexError
from saelab.features import marked
from saelab.features.layout import Current, Layout, database
from saelab.features.origin import DATABASE, FORMAT, refuse_stale
from saelab.features.records import UNSAID, Label
from saelab.features.vocabulary import Vocabulary
from saelab.store.sandbox import connect, literal

PAGE_THREADS = 1  # a page's queries take a millisecond; on a busy machine a second thread is mostly waited for


class Generation:
    """The database a pointer names: its facts, its connection, its token strings."""

    def __init__(self, root: Path, now: Current) -> None:
        self.number = now.generation
        self.layout = Layout(root, now.key)
        self.path = database(root, now.generation)
        if (known := marked.facts(self.path)) is None:
            raise FeatureIndexError(
                f"{self.path} is missing or has not the size it was written with.\n"
                f"  fix:   delete {root / 'CURRENT'} and run `saelab index` again"
            )
        _refuse_other_format(self.path, known)
        self._connection = attach(root, self.path, PAGE_THREADS)
        self._named: dict[int, Label] | None = None
        self._lock = threading.Lock()
        self.facts = _facts(self.cursor())
        self.checkpoint = (root / self.facts["checkpoint"]).resolve()
        refuse_stale(root, self.checkpoint, self.facts["weights"])

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A cursor for one question. Threads must not share a connection, but each may have a cursor of it."""
        cursor = self.bare_cursor()
        cursor.execute("use app")
        return cursor

    def bare_cursor(self) -> duckdb.DuckDBPyConnection:
        """A cursor that names tables as `app.features`: without the half millisecond of a `use`."""
        return self._connection.cursor()

    def labelled(self, labels: dict[int, Label], automatic: dict[int, Label]) -> duckdb.DuckDBPyConnection:
        """A cursor that also sees `memory.main.known`: the table of features, what they are called, all in memory.

        `label` and `kind` are those of `labels` (a label that says no kind is of kind UNSAID), `f1` is that of
        `automatic`, whose labels were measured: a person's own, which comes first in `labels`, was not.

        Joined once for all questions (made again when `labels` is another object): a join costs each of them 5 ms at
        65,536 features, and reading the file's compressed columns as much again (2 cores, 2026-11-22).
        """
        cursor = self.cursor()
        with self._lock:
            if self._named is not labels:
                cursor.execute(
                    "create or replace table memory.main.known as select features.*, label, kind, f1 from features "
                    "left join (select unnest(?::integer[]) as feature, unnest(?::varchar[]) as label, "
                    "unnest(?::varchar[]) as kind, unnest(?::double[]) as f1) using (feature) order by feature",
                    [
                        list(labels),
                        [each.text for each in labels.values()],
                        [each.kind or UNSAID for each in labels.values()],
                        [automatic[n].f1 if n in automatic else None for n in labels],
                    ],
                )
                self._named = labels
        return cursor

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(self.cursor())


def _refuse_other_format(path: Path, known: dict[str, Any]) -> None:
    """Raise FeatureIndexError unless this saelab reads databases like the one at `path`, whose marker is `known`."""
    written = (known.get("format"), known.get("database"))
    if written != (FORMAT, DATABASE):
        raise FeatureIndexError(
            f"this index was made by another version of saelab: run `saelab index` again.\n"
            f"  index: {path}, of format {_version(*written)}\n  saelab: reads format {_version(FORMAT, DATABASE)}\n"
            "  fix:   saelab index CHECKPOINT; what the pass over the text found is kept where its format is the same"
        )


def _version(parts: object, database: object) -> str:
    return f"{parts or 'unknown'}.{database or 1}"


def attach(root: Path, path: Path, threads: int) -> duckdb.DuckDBPyConnection:
    """A sandbox of its own: one process may open an index twice, which two locked connections to a file cannot."""
    try:
        connection = connect(None, [root], threads=threads)
        connection.execute(f"attach {literal(str(path.resolve()))} as app (read_only)")
        return connection
    except duckdb.Error as error:
        raise FeatureIndexError(
            f"{path} cannot be read: {str(error).splitlines()[0]}\n  fix:   delete it and run `saelab index` again"
        ) from None


def _facts(cursor: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    rows = cursor.execute("select name, value from provenance").fetchall()
    return {name: json.loads(value) for name, value in rows}
