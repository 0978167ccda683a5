"""`saelab bench app`."""

from pathlib import Path

import click

from saelab.cli.bench.shown import run
from saelab.cli.output import console, json_option


@click.command("app")
@click.option("--features", default=65_536, show_default=True, help="Features of the generated SAE.")
@click.option("--activations", default=33_000_000, show_default=True, help="Activations above zero, about.")
@click.option("--d-in", default=256, show_default=True, help="Width of its rows.")
@click.option("--times", default=100, show_default=True, help="How often each kind of query is asked.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Keep the run here, and use it again.")
@json_option
def command(features: int, activations: int, d_in: int, times: int, out: Path | None, json_path: Path | None) -> None:
    """The app's pages on a generated index: queries, a page drawn on the server, opening, and building the index.

    \b
        saelab bench app --features 2048 --activations 500000
    """
    from saelab.app.timing import feature_pages
    from saelab.bench.generated import Shape

    shape = Shape(features=features, activations=activations, d_in=d_in)
    result = run("app", json_path, shape=shape, out=out, times=times, render=feature_pages)
    for name in result.missed():
        console.print(f"missed: {name}", markup=False)
