"""Stage 9: the database the pages read, generated from the tables and published by swapping a pointer.

It is built aside and never written again. Whoever has an older one open keeps it: an unlinked file stays readable.
"""

from pathlib import Path
from shutil import rmtree
from typing import Any

import duckdb

from saelab import sealed
from saelab.features import labels, marked
from saelab.features.indexing.cards import cards
from saelab.features.indexing.job import Job
from saelab.features.indexing.keys import Buckets
from saelab.features.indexing.pages import TABLES as BY_BUCKET
from saelab.features.layout import Layout, current, database
from saelab.features.origin import DATABASE, FORMAT
from saelab.store.sandbox import connect, literal

KEPT = 2  # generations: the one that is read, and the one before, that somebody may have open
ONCE = ("weights", "neighbours", "logits", "coactive", "vocabulary", "documents", "provenance")  # not by bucket
TABLES = {
    "features": "from {statistics} join {weights} using (feature) order by feature",
    "promoting": "select feature, unnest(promoted) as id, unnest(promoted_by) as logit from {logits} "
    "order by id, feature",
    "vocabulary": "from {vocabulary} order by id",
    "documents": "from {documents} order by doc",
    "provenance": "from {provenance} order by name",
}


def publish_database(job: Job, buckets: Buckets) -> None:
    """Generate the next database and point to it, unless the present one already holds these parts."""
    files = _files(job, buckets)
    now = current(job.root)
    if now is None or now.key != job.layout.key or not _readable(database(job.root, now.generation)):
        generation = now.generation + 1 if now else 1
        job.progress.start("writing the database", 1, "files")
        marked.put(database(job.root, generation), lambda tmp: _generate(tmp, job.layout, buckets))
        _drop_labels_of_other_weights(job)
        sealed.write(job.root / "CURRENT", {"generation": generation, "parts": job.layout.key})
        job.progress.advance(1)
    sealed.write(job.root / "index.json", {"made_from": job.request, "parts": job.layout.parts.name, "files": files})
    _remove_old(job)


def _readable(path: Path) -> bool:
    """Whether there is a whole database at `path`, of the kind that this saelab reads."""
    known = marked.facts(path)
    return known is not None and (known.get("format"), known.get("database")) == (FORMAT, DATABASE)


def _generate(tmp: Path, layout: Layout, buckets: Buckets) -> dict[str, Any]:
    tmp.unlink(missing_ok=True)
    connection = connect(tmp, [layout.parts], read_only=False, seconds=None, memory="1GB")
    try:
        for name, query in TABLES.items():
            connection.execute(f"create table {name} as {_with_files(query, layout, buckets)}")
        _write_cards(connection, layout, buckets)
        connection.execute("checkpoint")
    finally:
        connection.close()
    return {"parts": layout.key, "format": FORMAT, "database": DATABASE}


def _write_cards(connection: duckdb.DuckDBPyConnection, layout: Layout, buckets: Buckets) -> None:
    """Two values per feature, as they are: of those it compresses, a database decodes two thousand to find one."""
    as_it_is = "blob using compression uncompressed"
    connection.execute(f"create table cards (feature integer, card {as_it_is}, windows {as_it_is})")
    for table in cards(layout, buckets):
        connection.register("made", table)
        connection.execute("insert into cards from made")
        connection.unregister("made")


def _with_files(query: str, layout: Layout, buckets: Buckets) -> str:
    """`query` with the parquet files of a table in place of each {name}."""
    files = {name: [layout.table(name)] for name in ONCE}
    files |= {name: [layout.table(name, bucket) for bucket in range(buckets.count)] for name in BY_BUCKET}
    listed = {name: ", ".join(literal(str(path.resolve())) for path in paths) for name, paths in files.items()}
    return query.format_map({name: f"read_parquet([{paths}]) as {name}" for name, paths in listed.items()})


def _files(job: Job, buckets: Buckets) -> dict[str, dict[str, int]]:
    """Size and checksum of every part."""
    layout, each = job.layout, range(buckets.count)
    paths = [layout.codes(part) for part in range(job.n_parts)] + [layout.bucket(bucket) for bucket in each]
    paths += [layout.table(name, bucket) for name in BY_BUCKET for bucket in each]
    paths += [layout.table(name) for name in ONCE]
    known = {path: marked.facts(path) or {} for path in paths}
    return {
        path.relative_to(job.root).as_posix(): {key: facts[key] for key in ("bytes", "crc32")}
        for path, facts in known.items()
    }


def _drop_labels_of_other_weights(job: Job) -> None:
    """Labels say what the features of certain weights stand for; with other weights they would be lies."""
    try:
        before = sealed.read(job.root / "index.json")["made_from"]["weights"]
    except (FileNotFoundError, ValueError, KeyError):
        return
    if before != job.request["weights"] and (job.root / labels.NAME).exists():
        (job.root / labels.NAME).unlink()
        job.progress.note("labels.json was of other weights and is gone; `saelab eval --only syntax` makes it anew")


def _remove_old(job: Job) -> None:
    """Databases before the last two, and parts that none of those two was made from."""
    now = current(job.root)
    assert now is not None
    kept = {job.layout.parts.name}
    for file in sorted(job.root.glob("app-*.duckdb")):
        facts = marked.facts(file)
        if facts is None or file < database(job.root, now.generation - KEPT + 1):
            file.unlink()
            marked.marker(file).unlink(missing_ok=True)
        else:
            kept.add(f"parts-{facts['parts']}")
    for folder in job.root.glob("parts-*"):
        if folder.name not in kept:
            rmtree(folder)
