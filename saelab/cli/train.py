"""`saelab train`."""

from dataclasses import asdict
from pathlib import Path

import click

from saelab.cli.output import console, json_option, progress, set_option, table, write_json


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@set_option
@click.option("--sweep", "sweeps", multiple=True, metavar="KEY=A,B,C", help="One SAE per value, in one pass.")
@click.option("--dry-run", is_flag=True, help="Print what would be trained, and stop.")
@json_option
def command(
    config: Path, changes: tuple[str, ...], sweeps: tuple[str, ...], dry_run: bool, json_path: Path | None
) -> None:
    """Train SAEs. Stop it as you like: the same command goes on and ends with the same bits.

    \b
        saelab train configs/train/pico-topk.yaml --set store=runs/demo/store --set train.rows=20000 --sweep sae.k=8,16
    """
    from saelab.cli.sources import row_source
    from saelab.config import override, read_yaml, settings
    from saelab.train import TrainConfig, plan, sweep, train

    values = sweep(override(read_yaml(config), changes), list(sweeps))
    cfg = settings(TrainConfig, values, where=str(config))
    source = row_source(cfg)
    if dry_run:
        table(f"{config} would train", ["what", "value"], list(plan(cfg, source).items()))
        return
    with progress() as bar:
        results = [asdict(result) for result in train(cfg, bar, source=source)]
    names = {"name": "name", "fvu": "FVU", "l0": "L0", "dead_share": "dead share", "cosine": "cosine", "rows": "rows"}
    table("on held-out rows", list(names.values()), [[result[key] for key in names] for result in results])
    write_json(json_path, results)
    console.print(f"Next: saelab index {results[0]['path']}", markup=False)
