"""`saelab note`."""

from pathlib import Path

import click

from saelab.cli.output import console, json_option, table, write_json


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("feature", type=int, required=False)
@click.option("--label", help="What the feature stands for, in a few words; comes before every other label.")
@click.option("--text", help="Whatever is worth remembering of it.")
@json_option
def command(checkpoint: Path, feature: int | None, label: str | None, text: str | None, json_path: Path | None) -> None:
    """Write a label and a note of a feature beside its index, or list all of them. Empty ones ("") remove.

    \b
        saelab note runs/demo/sae/topk-2048-k32 12 --label "comment" --text "also fires on docstrings"
    """
    from saelab.runs import index_of

    index = index_of(checkpoint)
    if feature is not None and (label is not None or text is not None):
        before = index.notebook.notes.get(feature)
        index.note(
            feature,
            label if label is not None else before.label if before else "",
            text if text is not None else before.text if before else "",
        )
    book = index.notebook
    if book.problem:
        console.print(book.problem, markup=False)
    rows = [[n, one.label, one.text, one.changed] for n, one in book.notes.items() if feature in (None, n)]
    table("notes", ["feature", "label", "note", "changed (UTC)"], rows)
    write_json(json_path, [dict(zip(("feature", "label", "note", "changed"), row, strict=True)) for row in rows])
