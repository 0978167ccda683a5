"""`saelab sql`."""

from pathlib import Path

import click

from saelab.cli.output import json_option, table, write_json


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("query")
@json_option
def command(folder: Path, query: str, json_path: Path | None) -> None:
    """Read-only SQL (DuckDB's dialect) over a store, a feature index, or what `saelab eval` found of a checkpoint.

    \b
        saelab sql runs/demo/store "select doc, pos, token, norm from rows limit 5"
        saelab sql runs/demo/sae "select checkpoint, metric, value from results where eval = 'core'"
    """
    from saelab.runs import queryable

    answer = queryable(folder).sql(query)
    rows = [list(row.values()) for row in answer.to_pylist()]
    table(f"{len(rows)} rows", answer.column_names, rows)
    write_json(json_path, answer.to_pylist())
