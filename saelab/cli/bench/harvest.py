"""`saelab bench harvest`."""

from pathlib import Path

import click

from saelab.cli.bench.shown import model_option, run
from saelab.cli.output import json_option


@click.command("harvest")
@model_option
@json_option
def command(model: str, json_path: Path | None) -> None:
    """Harvesting beside the bare model on the same contexts, and how fast a store is read back.

    \b
        saelab bench harvest
    """
    run("harvest", json_path, model=model)
