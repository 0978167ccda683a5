"""`saelab compare`."""

from pathlib import Path

import click

from saelab.cli.output import console, json_option, progress, table, write_json

file = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("checkpoints", nargs=-1, required=True, metavar="CHECKPOINT...", type=click.Path(path_type=Path))
@click.option("--tokens", type=click.IntRange(1), default=20_000, show_default=True, help="Held-out tokens.")
@click.option("--store", "store_path", type=click.Path(path_type=Path), help="Default: the first one's DIR/store.")
@click.option("--syntax", is_flag=True, help="Also count the labels of Python's syntax that features stand for.")
@click.option("--report", type=file, help="Write table and frontier as one HTML file.")
@json_option
def command(
    checkpoints: tuple[Path, ...], tokens: int, store_path: Path | None, syntax: bool, report: Path | None,
    json_path: Path | None,
) -> None:  # fmt: skip
    """Several SAEs on the same held-out tokens: one table, and the frontier of error against sparsity.

    \b
        saelab compare runs/demo/sae/topk-2048-k32 --tokens 2000 --report runs/frontier.html
    """
    from saelab.evals.compare import compare
    from saelab.evals.frontier import write_frontier
    from saelab.runs import language_model_of, store_of
    from saelab.sae import SAE
    from saelab.store import Store

    store = Store.open(store_path) if store_path else store_of(checkpoints[0])
    with progress() as bar:
        found = compare(checkpoints, language_model_of(SAE.load(checkpoints[0])), store, tokens, bar, syntax)
    table("on the same held-out tokens", *found.table())
    if (means := found.by_settings()) is not None:
        table("means over seeds", *means)
    for note in found.notes():
        console.print(f"- {note}", markup=False)
    write_json(json_path, found.to_json())
    if report is not None:
        write_frontier(found, report)
        console.print(f"wrote {report}")
