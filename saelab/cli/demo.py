"""`saelab demo`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from saelab.cli.output import console, json_option, progress, table, write_json

if TYPE_CHECKING:
    from saelab.demo import Demo

STEERED = "comment sign"  # turned up, such a feature makes pico write comments where it would not
STEER_OPTIONS = '--prompt "    def area(self): return self.width" --tokens 40 --seeds 3'


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/demo"), show_default=True)
@click.option("--tokens", default=600_000, show_default=True, help="Tokens of text to harvest.")
@json_option
def command(out: Path, tokens: int, json_path: Path | None) -> None:
    """The whole way on the bundled model, offline: harvest, train, index, measure, label. Minutes on two cores.

    \b
        saelab demo --out runs/demo
    """
    from saelab.demo import as_json, demo

    with progress() as bar:
        result = demo(out, tokens, progress=bar)
    rows = [[f.feature, f.label, f.f1, f.precision, f.recall] for f in result.features[:10]]
    table("ten features and what they stand for (scores on held-out modules)",
          ["feature", "label", "F1", "precision", "recall"], rows)  # fmt: skip
    figures = [("FVU", result.fvu), ("L0", result.l0), ("dead share", result.dead_share),
               ("CE recovered", result.ce_recovered)]  # fmt: skip
    table(f"{result.checkpoint}, on held-out modules", ["figure", "value"], figures)
    write_json(json_path, as_json(result))
    for what, line in what_next(result).items():
        console.print(f"{what:12}{line}", markup=False, soft_wrap=True)  # whole lines, to be copied


def what_next(result: "Demo") -> dict[str, str]:
    """The commands to type now."""
    best = result.features[0].feature if result.features else 0
    steered = next((one.feature for one in result.features if one.label == STEERED), best)
    return {
        "Browse it:": f"saelab app {result.folder}",
        "One card:": f"saelab show {result.checkpoint} {best}",
        "Steer it:": f"saelab steer {result.checkpoint} --feature {steered}=1.25 {STEER_OPTIONS}",
    }
