"""`saelab search`."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from saelab.cli.output import json_option, table, write_json

Found = tuple[str, list[str], list[list[Any]], Any]  # title, columns, rows, the same for JSON


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("text")
@click.option("--in", "place", type=click.Choice(["text", "fires", "promotes", "labels"]), default="text",
              show_default=True, help="Run TEXT; or look for the token TEXT, or for its words.")  # fmt: skip
@click.option("--by", type=click.Choice(["max", "sum", "specificity"]), default="specificity", show_default=True)
@click.option("--span", metavar="FIRST:LAST", help="Only these tokens of the text, counted from 0.")
@click.option("--top", default=15, show_default=True, help="Features to print.")
@json_option
def command(
    checkpoint: Path, text: str, place: str, by: str, span: str | None, top: int, json_path: Path | None
) -> None:
    """Which features fire on a text; with --in, on a token of the corpus, promote a token, or are called so.

    Specificity weighs down features that fire everywhere.

    \b
        saelab search runs/demo/sae/topk-2048-k32 "import os, sys  # the usual"
        saelab search runs/demo/sae/topk-2048-k32 return --in fires
    """
    ways: dict[str, Callable[[], Found]] = {
        "text": lambda: _text(checkpoint, text, by, _span(span), top),
        "fires": lambda: _fires(checkpoint, text, top),
        "promotes": lambda: _promotes(checkpoint, text, top),
        "labels": lambda: _labels(checkpoint, text, top),
    }
    title, columns, rows, plain = ways[place]()
    table(title, columns, rows)
    write_json(json_path, plain)


def _span(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, _, last = text.partition(":")
    try:
        return int(first), int(last or first)
    except ValueError:
        raise click.BadParameter(f"--span {text!r}: expected FIRST:LAST, as in 3:9") from None


def _text(checkpoint: Path, text: str, by: str, span: tuple[int, int] | None, top: int) -> Found:
    from saelab.features import fires_on
    from saelab.runs import index_of, language_model_of
    from saelab.sae import SAE

    sae, index = SAE.load(checkpoint), index_of(checkpoint)
    found = fires_on(language_model_of(sae), sae, text, index=index)
    best = found.ranking(by, top, span)
    rows = [
        [hit.feature, hit.max, hit.sum, hit.specificity, repr(found.tokens[hit.peak]), hit.label and hit.label.text]
        for hit in best
    ]
    columns = ["feature", "max", "sum", "specificity", "most on", "label"]
    return f"features that fire, by {by}", columns, rows, [asdict(hit) for hit in best]


def _fires(checkpoint: Path, text: str, top: int) -> Found:
    from saelab.runs import index_of, store_of

    found = index_of(checkpoint).search_fires(store_of(checkpoint), text, limit=top)
    rows = [
        [one.feature, one.count, one.f1, one.precision, one.recall, one.max, one.label and one.label.text]
        for one in found.firing
    ]
    title = f"features that fire on {' '.join(map(repr, found.tokens)) or repr(text)}, {found.occurrences:,} tokens"
    return title, ["feature", "firings", "F1", "precision", "recall", "max", "label"], rows, asdict(found)


def _promotes(checkpoint: Path, text: str, top: int) -> Found:
    from saelab.runs import index_of

    found = index_of(checkpoint).search_promoted(text, limit=top)
    rows = [[one.feature, repr(one.effect.token), one.effect.logit, one.label and one.label.text] for one in found]
    columns = ["feature", "token", "logit", "label"]
    return f"features that promote a token containing {text!r}", columns, rows, [asdict(one) for one in found]


def _labels(checkpoint: Path, text: str, top: int) -> Found:
    from saelab.runs import index_of

    index = index_of(checkpoint)
    labels, notes = index.labels, index.notebook.notes
    rows = [
        [number, labels[number].text if number in labels else None, notes[number].text if number in notes else None]
        for number in index.search_words(text, top)
    ]
    columns = ["feature", "label", "note"]
    plain = [dict(zip(columns, row, strict=True)) for row in rows]
    return f"features whose label or note matches {text!r}", columns, rows, plain
