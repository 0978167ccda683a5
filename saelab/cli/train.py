"""`saelab train`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from saelab.cli.output import console, json_option, progress, set_option, table, write_json

if TYPE_CHECKING:
    from saelab.contracts import Progress
    from saelab.train import RowSource, TrainConfig, TrainResult


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
    from saelab.train import TrainConfig, dead_reasons, sweep

    values = sweep(override(read_yaml(config), changes), list(sweeps))
    cfg = settings(TrainConfig, values, where=str(config))
    source = row_source(cfg)
    if dry_run:
        _announce(cfg, source, str(config))
        return
    with progress() as bar:
        trained = _trained(cfg, source, bar)
    results = [asdict(result) for result in trained]
    names = {"name": "name", "fvu": "FVU", "l0": "L0", "dead_share": "dead share", "cosine": "cosine", "rows": "rows"}
    own = list(dict.fromkeys(key for result in results for key in result["own"]))
    rows = [[result[key] for key in names] + [result["own"].get(key) for key in own] for result in results]
    table("on held-out rows", [*names.values(), *own], rows)
    write_json(json_path, results)
    for name, reasons in dead_reasons(cfg, source, trained) if cfg.layer_groups is None else []:
        console.print(f"Many features of {name} are dead. What was measured, and what would help:", markup=False)
        for reason in reasons:
            console.print(f"- {reason.measured}\n  fix:   {reason.change}", markup=False)
    indexed = [result["path"] for result in results if result["reproduces_rows"]]
    if indexed:
        console.print(f"Next: saelab index {indexed[0]}", markup=False)


def _trained(cfg: "TrainConfig", source: "RowSource | None", bar: "Progress") -> "list[TrainResult]":
    """What came of it: a result for every SAE; of groups of layers one for every layer."""
    from saelab.train import groups_of, train, train_groups

    if cfg.layer_groups is None:
        return train(cfg, bar, source=source)
    groups = groups_of(cfg, source)
    table("angular distances group these layers", *groups.table())
    return train_groups(cfg, groups, bar, source)


def _announce(cfg: "TrainConfig", source: "RowSource | None", config: str) -> None:
    """What would be trained, of groups of layers group by group."""
    from saelab.train import group_plans, plan

    if cfg.layer_groups is None:
        table(f"{config} would train", ["what", "value"], list(plan(cfg, source).items()))
        return
    groups, planned = group_plans(cfg, source)
    table("angular distances group these layers", *groups.table())
    for sites, one in zip(groups.groups, planned, strict=True):
        table(f"{config} would train for {', '.join(sites)}", ["what", "value"], list(one.items()))
