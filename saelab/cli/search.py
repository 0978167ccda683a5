"""`saelab search`."""

from dataclasses import asdict
from pathlib import Path

import click

from saelab.cli.output import json_option, table, write_json


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("text")
@click.option("--by", type=click.Choice(["max", "sum", "specificity"]), default="specificity", show_default=True)
@click.option("--top", default=15, show_default=True, help="Features to print.")
@json_option
def command(checkpoint: Path, text: str, by: str, top: int, json_path: Path | None) -> None:
    """Which features fire on this text. Specificity weighs down features that fire everywhere.

    \b
        saelab search runs/demo/sae/topk-2048-k32 "import os, sys  # the usual"
    """
    from saelab.features import fires_on
    from saelab.runs import index_of, language_model_of
    from saelab.sae import SAE

    sae, index = SAE.load(checkpoint), index_of(checkpoint)
    found = fires_on(language_model_of(sae), sae, text, index=index)
    best = found.ranking(by, top)
    rows = [
        [hit.feature, hit.max, hit.sum, hit.specificity, repr(found.tokens[hit.peak]), hit.label and hit.label.text]
        for hit in best
    ]
    table(f"features that fire, by {by}", ["feature", "max", "sum", "specificity", "most on", "label"], rows)
    write_json(json_path, [asdict(hit) for hit in best])
