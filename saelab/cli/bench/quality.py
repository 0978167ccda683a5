"""`saelab bench quality`."""

from pathlib import Path
from typing import Any

import click

from saelab.cli.bench.shown import run
from saelab.cli.output import console, json_option


@click.command("quality")
@click.option("--rows", metavar="STORE", help="Rows of a store. Without it pico's, harvested on the spot.")
@click.option("--site", help="Site of the store, where it holds several.")
@click.option("--d-sae", type=int, help="Features. Without it 8 times the width of the rows.")
@click.option("--k", "ks", type=int, multiple=True, help="Features kept per row [16 32 64].")
@click.option("--variant", "variants", multiple=True, type=click.Choice(["topk", "batchtopk", "matryoshka"]))
@click.option("--batch", default=2048, show_default=True, help="Rows per step.")
@click.option("--steps", default=300, show_default=True, help="Steps of each training.")
@click.option("--seeds", default=3, show_default=True, help="Trainings of each kind.")
@click.option("--peers-python", type=click.Path(dir_okay=False, path_type=Path), help="Python with the peers.")
@click.option(
    "--earlier",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="Take the peers from the JSON of an earlier run of equal settings, and train saelab again.",
)
@json_option
def command(ks: tuple[int, ...], variants: tuple[str, ...], json_path: Path | None, earlier: Path | None,
            **values: Any) -> None:  # fmt: skip
    """What saelab with nothing set reaches on held-out rows, beside other libraries at three learning rates each.

    \b
        saelab bench quality --d-sae 1024 --k 32 --steps 100
        saelab bench quality --peers-python peers/bin/python --json runs/quality.json
    """
    from saelab.bench.quality import QualityConfig
    from saelab.config import settings

    many = {"k": ks, "variants": variants}
    given = {key: value for key, value in {**values, **many}.items() if value not in (None, ())}
    result = run("quality", json_path, earlier=earlier, cfg=settings(QualityConfig, given, where="bench quality"))
    for note in result.notes:
        console.print(f"- {note}", markup=False)
