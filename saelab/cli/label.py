"""`saelab label`."""

from pathlib import Path

import click

from saelab.cli.output import console, json_option, progress, set_option, table, write_json


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--store", "store_path", type=click.Path(path_type=Path), help="Rows of the index; default: DIR/store.")
@click.option("--top", default=30, show_default=True, help="Rules to print, the best first.")
@click.option("--no-syntax", is_flag=True, help="Do without Python's syntax, and so without the language model.")
@set_option
@json_option
def command(
    checkpoint: Path, store_path: Path | None, top: int, no_syntax: bool, changes: tuple[str, ...],
    json_path: Path | None,
) -> None:  # fmt: skip
    """Give each feature the rule in words that best says when it fires: tokens, what they follow, place, syntax.

    Rules are chosen on half of the documents and measured on the other half. They become the index's labels, in place
    of those that were there; labels of your own (`saelab note`) come first in any case.

    \b
        saelab label runs/demo/sae/topk-2048-k32
    """
    from saelab.config import override, settings
    from saelab.explain import RuleConfig, label_features
    from saelab.features import write_labels
    from saelab.runs import index_of, language_model_of, store_of
    from saelab.sae import SAE
    from saelab.store import Store

    index = index_of(checkpoint)
    store = Store.open(store_path) if store_path else store_of(checkpoint)
    with progress() as bar:
        lm = None if no_syntax else language_model_of(SAE.load(checkpoint))
        found = label_features(index, store, lm, settings(RuleConfig, override({}, changes), "--set"), bar)
    write_labels(index.path, found.as_labels())
    columns, rows = found.table()
    table("what features fire on, on documents the rules were not chosen on", columns, rows[:top])
    for line in found.summary():
        console.print(line, markup=False)
    write_json(json_path, found.to_json())
