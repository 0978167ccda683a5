"""`saelab show`."""

from dataclasses import asdict
from pathlib import Path

import click

from saelab.cli.output import console, json_option, table, write_json


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("feature", type=int)
@click.option("--examples", default=8, show_default=True, help="Top examples to print.")
@click.option("--across", "other", type=click.Path(path_type=Path), metavar="CHECKPOINT",
              help="Also the nearest features of another SAE of the same site.")  # fmt: skip
@click.option("--html", "html_path", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Also write the card as one HTML file that opens from disk.")  # fmt: skip
@json_option
def command(
    checkpoint: Path, feature: int, examples: int, other: Path | None, html_path: Path | None, json_path: Path | None
) -> None:
    """One feature's card: how often it fires, on what, and what it writes.

    \b
        saelab show runs/demo/sae/topk-2048-k32 12 --html feature-12.html
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
    if other is not None:
        _across(checkpoint, feature, other)
    if html_path is not None:
        from saelab.app.export import feature_page
        from saelab.page import write_page

        write_page(html_path, feature_page(index, feature, examples))
        console.print(f"wrote {html_path}", markup=False)
    write_json(json_path, asdict(card))


def _across(checkpoint: Path, feature: int, other: Path) -> None:
    from saelab.features import across
    from saelab.sae import SAE

    found = across(SAE.load(checkpoint), feature, SAE.load(other))
    table(f"nearest decoder directions in {other}", ["feature", "cosine"], [[n.feature, n.cosine] for n in found])
