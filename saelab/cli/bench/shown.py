"""What all benchmarks have in common: progress while they run, then a table, and JSON on request."""

from pathlib import Path
from typing import Any

import click

from saelab.cli.output import progress, table, write_json

model_option = click.option("--model", default="pico", show_default=True, help="Language model to run.")


def run(what: str, json_path: Path | None, **options: Any) -> Any:
    """The benchmark's result, printed."""
    from saelab.bench import BENCHES

    with progress() as bar:
        result = BENCHES[what](progress=bar, **options)
    columns, rows = result.table()
    table(f"saelab bench {what}", columns, rows)
    write_json(json_path, result.to_json())
    return result
