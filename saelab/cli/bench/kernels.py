"""`saelab bench kernels`."""

from pathlib import Path
from typing import Any

import click

from saelab.cli.bench.shown import run
from saelab.cli.output import json_option


@click.command("kernels")
@click.option("--rows", metavar="STORE", help="Rows of a store, or `gaussian`. Without it pico's, if of this width.")
@click.option("--site", help="Site of the store, where it holds several.")
@click.option("--d-in", type=int, help="Width of the rows. Without it the store's, or pico's 256.")
@click.option("--d-sae", type=int, help="Features. Without it 16 times d_in.")
@click.option("--k", default=32, show_default=True, help="Features kept per row.")
@click.option("--batch", default=2048, show_default=True, help="Rows per step.")
@json_option
def command(json_path: Path | None, **shape: Any) -> None:
    """Each op of a training step alone, beside this machine's ceilings for products and copies.

    \b
        saelab bench kernels --d-sae 1024
    """
    run("kernels", json_path, **shape)
