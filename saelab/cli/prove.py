"""`saelab prove`."""

import os
from pathlib import Path

import click

from saelab.cli.output import console, json_option, progress, table, write_json


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--fast", is_flag=True, help="Leave out what takes longer than minutes on two cores.")
@click.option("--seeds", type=click.IntRange(1), help="Runs per claim, instead of each claim's own number.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=lambda: os.cpu_count() or 1,
    show_default="one per core",
    help="Processes that share the runs, one thread each.",
)
@json_option
def command(names: tuple[str, ...], fast: bool, seeds: int | None, workers: int, json_path: Path | None) -> None:
    """Measure what the variants' papers claim, on rows whose true features are known.

    NAME is a claim or a variant; without any, all claims. Rows of an earlier --json file stay where they were not
    measured again. The exit code is 1 when one fails.

    \b
        saelab prove topk-mcc-8 --seeds 1
        saelab prove --fast --json runs/proofs.json
    """
    from saelab.prove import prove, read_proofs

    earlier = None if json_path is None else read_proofs(json_path)
    with progress() as bar:
        found = prove(names, fast, seeds, bar, workers)
    table("claims, means over seeds", *found.table())
    for row in found.rows:
        if row.note and not row.passed:
            console.print(f"- {row.name}: {row.note}", markup=False)
    write_json(json_path, found.to_json(earlier))
    if not all(row.passed for row in found.rows):
        raise SystemExit(1)
