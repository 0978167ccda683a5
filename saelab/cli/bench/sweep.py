"""`saelab bench sweep`."""

from pathlib import Path

import click

from saelab.cli.bench.shown import model_option, run
from saelab.cli.output import json_option


@click.command("sweep")
@model_option
@json_option
def command(model: str, json_path: Path | None) -> None:
    """Four SAEs in one pass of the model, beside the pass and each of them alone.

    \b
        saelab bench sweep
    """
    run("sweep", json_path, model=model)
