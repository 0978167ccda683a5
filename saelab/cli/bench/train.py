"""`saelab bench train`."""

from pathlib import Path
from typing import Any

import click

from saelab.cli.bench.shown import run
from saelab.cli.output import console, json_option

file = click.Path(dir_okay=False, path_type=Path)


@click.command("train")
@click.option("--rows", metavar="STORE", help="Rows of a store, or `gaussian`. Without it pico's, if of this width.")
@click.option("--site", help="Site of the store, where it holds several.")
@click.option("--d-in", type=int, help="Width of the rows. Without it the store's, or pico's 256.")
@click.option("--d-sae", type=int, help="Features. Without it 16 times d_in.")
@click.option("--k", default=32, show_default=True, help="Features kept per row.")
@click.option("--batch", "sizes", type=int, multiple=True, help="Rows per step [2048]; more sizes give a curve.")
@click.option("--variant", type=click.Choice(["topk", "batchtopk"]), default="topk", show_default=True)
@click.option("--steps", default=600, show_default=True, help="Steps to train before FVU is measured; 0: speed alone.")
@click.option("--peers", is_flag=True, help="Also time sae-lens, eai-sparsify and dictionary-learning.")
@click.option("--peers-python", type=file, help="The Python of an environment that holds them; implies --peers.")
@click.option("--only", multiple=True, metavar="PEER[/SETTING]", help="Time this peer, or this setting of it, alone.")
@click.option("--report", type=file, help="Write table and pictures as one HTML file.")
@json_option
def command(sizes: tuple[int, ...], peers: bool, report: Path | None, json_path: Path | None, **values: Any) -> None:
    """Whole training steps: milliseconds, rows per second, memory and FVU, beside the encoder's product alone.

    \b
        saelab bench train --d-sae 1024 --steps 60
        saelab bench train --peers --peers-python peers/bin/python --report runs/bench.html
    """
    from saelab.bench.report import write_report
    from saelab.bench.train import configured

    result = run("train", json_path, cfg=configured(sizes, peers, values))
    for note in result.notes:
        console.print(f"- {note}", markup=False)
    if report is not None:
        write_report(result, report)
        console.print(f"wrote {report}")
