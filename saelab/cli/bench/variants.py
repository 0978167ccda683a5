"""`saelab bench variants`."""

from pathlib import Path
from typing import Any

import click

from saelab.cli.bench.shown import run
from saelab.cli.output import json_option


@click.command("variants")
@click.option("--rows", metavar="STORE", help="Rows of a store, or `gaussian`. Without it pico's, on the spot.")
@click.option("--d-sae", type=int, help="Features. Without it 8 times the width of the rows.")
@click.option("--k", default=32, show_default=True, help="Features kept per row, where a variant lets it be set.")
@click.option("--batch", default=2048, show_default=True, help="Rows per step.")
@click.option("--warm", default=100, show_default=True, help="Steps of each before it is timed.")
@click.option("--steps", default=40, show_default=True, help="Steps of each that are timed.")
@json_option
def command(json_path: Path | None, **shape: Any) -> None:
    """Training steps of every sparse variant on the same rows, in turns, beside TopK's.

    \b
        saelab bench variants --d-sae 1024 --warm 20 --steps 10
    """
    run("variants", json_path, **shape)
