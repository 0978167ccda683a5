"""`saelab bench gpu`."""

from pathlib import Path

import click

from saelab.cli.bench.shown import run
from saelab.cli.output import json_option


@click.command("gpu")
@click.option("--small", is_flag=True, help="Tiny shapes, anywhere: to see that the call works.")
@click.option("--peers-python", type=click.Path(dir_okay=False, path_type=Path), help="Python with the peers.")
@json_option
def command(small: bool, peers_python: Path | None, json_path: Path | None) -> None:
    """All that is to be known of a GPU in one call: kernels checked in fp64, each timed, whole steps at three sizes.

    \b
        saelab bench gpu --small
        saelab bench gpu --peers-python peers/bin/python --json runs/gpu.json
    """
    run("gpu", json_path, small=small, peers_python=peers_python)
