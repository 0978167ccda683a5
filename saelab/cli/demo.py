"""`saelab demo`."""

from pathlib import Path

import click

from saelab.cli.output import console, json_option, progress, table, write_json


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/demo"), show_default=True)
@click.option("--tokens", default=400_000, show_default=True, help="Tokens of text to harvest.")
@json_option
def command(out: Path, tokens: int, json_path: Path | None) -> None:
    """The whole way on the bundled model, offline: harvest, train, index, measure, label. Minutes on two cores.

    \b
        saelab demo --out runs/demo
    """
    from saelab.demo import as_json, demo

    with progress() as bar:
        result = demo(out, tokens, progress=bar)
    rows = [[f.feature, f.label, f.f1, f.precision, f.recall] for f in result.features]
    table("ten features and what they stand for (scores on held-out modules)",
          ["feature", "label", "F1", "precision", "recall"], rows)  # fmt: skip
    figures = [("FVU", result.fvu), ("L0", result.l0), ("dead share", result.dead_share),
               ("CE recovered", result.ce_recovered)]  # fmt: skip
    table(f"{result.checkpoint}, on held-out modules", ["figure", "value"], figures)
    write_json(json_path, as_json(result))
    best = result.features[0].feature if result.features else 0
    console.print(f"Browse it:  saelab app {out}", markup=False)
    console.print(f"One card:   saelab show {result.checkpoint} {best}", markup=False)
    steered = f'saelab steer {result.checkpoint} --feature {best}=2 --prompt "def area(width, height):"'
    console.print(f"Steer it:   {steered}", markup=False)
