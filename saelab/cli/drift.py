"""`saelab drift`."""

from dataclasses import asdict
from pathlib import Path

import click

from saelab.cli.output import json_option, table, write_json

SORTS = ("cosine", "density", "overlap", "born", "died")


@click.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--sort", type=click.Choice(SORTS), default="cosine", show_default=True, help="What changed most.")
@click.option("--top", default=20, show_default=True, help="Features to print.")
@json_option
def command(a: Path, b: Path, sort: str, top: int, json_path: Path | None) -> None:
    """Two checkpoints feature by feature: how far decoder rows turned, births and deaths, densities, examples.

    \b
        saelab drift runs/demo/sae/topk-2048-k8 runs/demo/sae/topk-2048-k16
    """
    from saelab.runs import drift_of

    found = drift_of(a, b)
    table(f"{a.name} beside {b.name}", ["what", "value"], [list(item) for item in found.summary().items()])
    rows = found.rows(sort, top)
    names = ["feature", "beside", "cosine", "density a", "density b", "overlap", "fate"]
    table(f"by {sort}; a feature lives when it {found.lives}", names, [list(asdict(row).values()) for row in rows])
    summary = {"same_numbers": found.same_numbers, "lives": found.lives, **found.summary()}
    write_json(json_path, {**summary, "features": [asdict(row) for row in rows]})
