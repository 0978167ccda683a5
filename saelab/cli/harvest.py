"""`saelab harvest`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from saelab.cli.output import console, json_option, progress, set_option, table, write_json

if TYPE_CHECKING:
    from saelab.store import Store

PRESETS = {"pico": 256, "smollm2": 576}  # width of the rows that configs/train/{model}-topk.yaml is made for


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
    console.print(f"Next: {_train_command(store)}", markup=False, soft_wrap=True)


def _train_command(store: "Store") -> str:
    """A command that trains on this store as it stands: the model's own settings or pico's, and what differs."""
    from saelab.train import OptimiserConfig

    name, site = str(store.model.get("name")), next(iter(store.sites))
    changes: dict[str, object] = {"store": store.path}
    if len(store.sites) > 1:
        changes["site"] = site
    if store.d(site) != PRESETS.get(name):
        changes["sae.d_sae"] = 8 * store.d(site)
    if store.rows("train") < OptimiserConfig().batch:
        changes["train.batch"] = store.rows("train")
    preset = f"configs/train/{name if name in PRESETS else 'pico'}-topk.yaml"
    return " ".join(["saelab train", preset, *(f"--set {key}={value}" for key, value in changes.items())])
