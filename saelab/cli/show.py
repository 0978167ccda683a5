"""`saelab show`."""

from dataclasses import asdict
from pathlib import Path

import click

from saelab.cli.output import console, json_option, table, write_json


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("feature", type=int)
@click.option("--examples", default=8, show_default=True, help="Top examples to print.")
@json_option
def command(checkpoint: Path, feature: int, examples: int, json_path: Path | None) -> None:
    """One feature's card: how often it fires, on what, and what it writes.

    \b
        saelab show runs/demo/sae/topk-2048-k32 12
    """
    from saelab.cli.tokens import coloured
    from saelab.runs import index_of

    card = index_of(checkpoint).card(feature, examples=examples)
    figures = asdict(card.stats)
    table(card.title, ["statistic", "value"], list(figures.items()))
    for example in card.top:
        console.print(coloured(example, card.stats.max))
    if card.promoted:
        pairs = zip(card.promoted[:10], card.suppressed[:10], strict=True)
        rows = [[up.token, up.logit, down.token, down.logit] for up, down in pairs]
        table(card.logit_variant, ["promotes", "logit", "suppresses", "logit "], rows)
    if card.neighbours:
        table("nearest decoder directions", ["feature", "cosine"], [[n.feature, n.cosine] for n in card.neighbours[:5]])
    write_json(json_path, asdict(card))
