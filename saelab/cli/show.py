"""`saelab show`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from saelab.cli.output import console, json_option, table, write_json

if TYPE_CHECKING:
    from saelab.features import FeatureCard, Index, SourceAttention


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("feature", type=int)
@click.option("--examples", default=8, show_default=True, help="Top examples to print.")
@click.option("--across", "other", type=click.Path(path_type=Path), metavar="CHECKPOINT",
              help="Also the nearest features of another SAE of the same site.")  # fmt: skip
@click.option("--sources", "rank", type=click.IntRange(1), metavar="RANK",
              help="Also which source tokens, through which heads, the example of this rank comes from (attn_z)."
              )  # fmt: skip
@click.option("--html", "html_path", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Also write the card as one HTML file that opens from disk.")  # fmt: skip
@json_option
def command(
    checkpoint: Path, feature: int, examples: int, other: Path | None, rank: int | None, html_path: Path | None,
    json_path: Path | None,
) -> None:  # fmt: skip
    """One feature's card: how often it fires, on what, and what it writes.

    \b
        saelab show runs/demo/sae/topk-2048-k32 12 --html feature-12.html
    """
    from saelab.cli.cards import figures, title
    from saelab.cli.tokens import coloured
    from saelab.explain.kept import explanation_of
    from saelab.runs import index_of

    index = index_of(checkpoint)
    card = index.card(feature, examples=examples)
    table(title(card), ["statistic", "value"], figures(card.stats, index.n_tokens))
    if (said := explanation_of(index, feature)) is not None:
        console.print(f"{said.model} says: {said.text}", markup=False)
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
    sources = None if rank is None else _sources(checkpoint, index, card, rank)
    if html_path is not None:
        from saelab.app.export import feature_page
        from saelab.page import write_page

        write_page(html_path, feature_page(index, feature, examples))
        console.print(f"wrote {html_path}", markup=False)
    write_json(json_path, {**asdict(card), **({"sources": asdict(sources)} if sources else {})})


def _across(checkpoint: Path, feature: int, other: Path) -> None:
    from saelab.features import across
    from saelab.sae import SAE

    found = across(SAE.load(checkpoint), feature, SAE.load(other))
    table(f"nearest decoder directions in {other}", ["feature", "cosine"], [[n.feature, n.cosine] for n in found])


def _sources(checkpoint: Path, index: "Index", card: "FeatureCard", rank: int) -> "SourceAttention":
    from saelab.errors import FeatureIndexError
    from saelab.features import sources_of
    from saelab.runs import language_model_of, store_of
    from saelab.sae import SAE

    if rank > len(card.top):
        raise FeatureIndexError(f"there is no example of rank {rank}: {len(card.top)} are at hand (--examples).")
    sae = SAE.load(checkpoint)
    lm = language_model_of(sae)
    found = sources_of(lm, sae, index.rows(store_of(checkpoint)), card.feature, card.top[rank - 1].row)
    columns, rows = found.table()
    table(
        f"the largest contributions; all are {found.total - found.bias:.4f}, with the bias of {found.bias:.4f} the "
        f"pre-activation {found.pre_activation:.4f}",
        columns,
        [(at, repr(said), *rest) for at, said, *rest in rows],
    )
    return found
