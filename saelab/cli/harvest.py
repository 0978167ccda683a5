"""`saelab harvest`."""

from dataclasses import asdict
from pathlib import Path

import click

from saelab.cli.output import console, json_option, progress, set_option, table, write_json


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@set_option
@click.option("--dry-run", is_flag=True, help="Print tokens, bytes and time, and stop.")
@json_option
def command(config: Path, changes: tuple[str, ...], dry_run: bool, json_path: Path | None) -> None:
    """Run a language model over text and keep its activations, several sites in one pass.

    \b
        saelab harvest configs/harvest/pico.yaml --set out=runs/pico/store --set tokens=20000
    """
    from saelab.config import load_settings
    from saelab.harvest import HarvestConfig, estimate, harvest

    cfg = load_settings(HarvestConfig, config, changes)
    if dry_run:
        plan = asdict(estimate(cfg))
        table(f"{config} would harvest", ["what", "value"], list(plan.items()))
        write_json(json_path, plan)
        return
    with progress() as bar:
        store = harvest(cfg, bar)
    rows = [[split, site, store.rows(split), store.d(site)] for split in store.splits for site in store.sites]
    table(f"{store.path}", ["split", "site", "rows", "width"], rows)
    write_json(json_path, [dict(zip(("split", "site", "rows", "width"), row, strict=True)) for row in rows])
    console.print(f"Next: saelab train configs/train/pico-topk.yaml --set store={store.path}")
