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
    from saelab.cli.cards import figures, title
    from saelab.cli.tokens import coloured
    from saelab.runs import index_of

    index = index_of(checkpoint)
    card = index.card(feature, examples=examples)
    table(title(card), ["statistic", "value"], figures(card.stats, index.n_tokens))
    console.print("strongest contexts: activation, document, text", style="bold")
    for example in card.top:
        console.print(coloured(example, card.stats.max))
    if card.effects:
        pairs = list(zip(card.effects.promoted, card.effects.suppressed, strict=True))[:10]
        rows = [[repr(up.token), up.logit, repr(down.token), down.logit] for up, down in pairs]
        table("what one unit of it does to the logits", ["promotes", "logit", "suppresses", "logit "], rows)
    near = [[n.feature, n.cosine, n.label.text if n.label else None] for n in card.neighbours[:5]]
    table("nearest decoder directions", ["feature", "cosine", "label"], near)
    write_json(json_path, asdict(card))
