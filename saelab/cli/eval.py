"""`saelab eval`."""

from pathlib import Path

import click

from saelab.cli.output import console, json_option, progress, table, write_json


@click.command()
@click.argument("checkpoints", nargs=-1, metavar="CHECKPOINT...", type=click.Path(path_type=Path))
@click.option("--only", "names", multiple=True, metavar="NAME", help="One evaluation; may be given many times.")
@click.option("--all", "every", is_flag=True, help="Every evaluation that these checkpoints can be asked.")
@click.option("--list", "listed", is_flag=True, help="The evaluations, what they need and where they come from.")
@click.option("--define", is_flag=True, help="Each metric's definition, beside its value or in the list.")
@click.option("--store", "store_path", type=click.Path(path_type=Path), help="Default: DIR/store.")
@json_option
def command(
    checkpoints: tuple[Path, ...], names: tuple[str, ...], every: bool, listed: bool, define: bool,
    store_path: Path | None, json_path: Path | None,
) -> None:  # fmt: skip
    """Measure checkpoints on held-out documents: fidelity, and which syntax their features stand for; --all for more.

    \b
        saelab eval runs/demo/sae/topk-2048-k32 --only fidelity
    """
    from saelab.cli.evaluate import evaluate
    from saelab.cli.evaluated import all_rows, as_json, definitions, registry

    if listed:
        table("evaluations", *(definitions(names) if define else registry()))
        return
    if not checkpoints:
        raise click.UsageError("name a checkpoint, or ask for --list")
    with progress() as bar:
        measured = evaluate(checkpoints, names, every, store_path, bar)
    for one in measured:
        for name, result in one.results.items():
            if not every:
                table(f"{one.checkpoint}: {name}", *result.table())
            for line in result.summary():
                console.print(f"{name}: {line}" if every else line, markup=False)
    if every or define:
        table("every figure", *all_rows(measured, define))
    for one in measured:
        for name, reason in one.skipped.items():
            console.print(f"- {one.checkpoint.name}: {name} left out: {reason}", markup=False)
    write_json(json_path, as_json(measured))
