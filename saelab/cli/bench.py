"""`saelab bench`."""

from pathlib import Path

import click

from saelab.cli.output import json_option, progress, table, write_json


@click.command()
@click.argument("what", type=click.Choice(["harvest", "sweep"]))
@click.option("--model", default="pico", show_default=True, help="Language model to run.")
@json_option
def command(what: str, model: str, json_path: Path | None) -> None:
    """What this machine does, as ratios measured side by side in one run.

    \b
    harvest  harvesting beside the bare model, and the reader's throughput
    sweep    four SAEs in one pass beside the model and each of them alone

    \b
        saelab bench harvest
    """
    from saelab.bench import BENCHES

    with progress() as bar:
        result = BENCHES[what](model=model, progress=bar)
    columns, rows = result.table()
    table(f"saelab bench {what}", columns, rows)
    write_json(json_path, result.to_json())
