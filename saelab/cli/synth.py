"""`saelab synth`."""

from pathlib import Path

import click

from saelab.cli.output import console, progress, set_option


@click.command()
@click.argument("bed")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the store.")
@click.option("--rows", type=click.IntRange(1), default=300_000, show_default=True, help="Rows to train on.")
@click.option("--heldout", type=click.IntRange(0), default=8192, show_default=True, help="Rows to look at.")
@set_option
def command(bed: str, out: Path, rows: int, heldout: int, changes: tuple[str, ...]) -> None:
    """Write a store of rows whose true features are known: independent, in trees, or many and correlated.

    \b
        saelab synth easy --out runs/easy/store --rows 20000 --set noise=0.05
    """
    from saelab.config import override
    from saelab.synthetic import bed as built
    from saelab.synthetic import write_store

    made = built(override({"bed": bed}, changes))
    with progress() as bar:
        store = write_store(made, out, rows, heldout, bar)
    console.print(f"{store.path}: {store.rows('train'):,} rows of width {made.d} from {made.n:,} features")
    console.print(f"Next: saelab train configs/train/synthetic-topk.yaml --set source=store --set store={store.path}")
