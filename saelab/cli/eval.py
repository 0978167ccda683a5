"""`saelab eval`."""

from pathlib import Path

import click

from saelab.cli.output import console, json_option, progress, table, write_json


@click.command()
@click.argument("checkpoints", nargs=-1, required=True, metavar="CHECKPOINT...", type=click.Path(path_type=Path))
@click.option("--only", "names", multiple=True, metavar="NAME", help="One evaluation; may be given many times.")
@click.option("--store", "store_path", type=click.Path(path_type=Path), help="Default: DIR/store.")
@json_option
def command(
    checkpoints: tuple[Path, ...], names: tuple[str, ...], store_path: Path | None, json_path: Path | None
) -> None:
    """Measure checkpoints on held-out documents: fidelity, and which syntax their features stand for.

    \b
        saelab eval runs/demo/sae/topk-2048-k32 --only fidelity
    """
    from saelab.cli.evaluate import evaluate

    results = {}
    with progress() as bar:
        for checkpoint in checkpoints:
            results[str(checkpoint)] = evaluate(checkpoint, names, store_path, bar)
    for path, by_name in results.items():
        for name, result in by_name.items():
            columns, rows = result.table()
            table(f"{path}: {name}", columns, rows)
            for line in result.summary():
                console.print(line, markup=False)
    write_json(json_path, {path: {n: r.to_json() for n, r in by_name.items()} for path, by_name in results.items()})
