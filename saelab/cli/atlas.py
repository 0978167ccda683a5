"""`saelab atlas`."""

from dataclasses import asdict
from pathlib import Path

import click

from saelab.cli.output import console, json_option, table, write_json


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--where", "text", default="", metavar="FILTER", help="As in: \"density > 0.001 and label like 'c%'\".")
@click.option("--saved", metavar="NAME", help="A filter that was saved before; --where may narrow it further.")
@click.option("--save", metavar="NAME", help="Keep this filter beside the run, where the app lists it too.")
@click.option("--sort", default="density", show_default=True, help="Column to sort by, largest first.")
@click.option("--top", default=20, show_default=True, help="Features to print.")
@json_option
def command(
    checkpoint: Path, text: str, saved: str | None, save: str | None, sort: str, top: int, json_path: Path | None
) -> None:
    """Features that pass a filter, which is the part of SQL that chooses rows.

    \b
        saelab atlas runs/demo/sae/topk-2048-k32 --where "density > 0.01 and cosine < 0.5" --sort max
    """
    from saelab.features import Where, save_filter, saved_filter
    from saelab.runs import index_of, run_folder

    index, run = index_of(checkpoint), run_folder(checkpoint)
    asked = Where((saved_filter(run, saved) if saved else Where()).parts + Where.parse(text).parts)
    if save:
        save_filter(run, save, asked.text)
        console.print(f"saved {save!r}: {asked.text}", markup=False)
    found = index.features(sort, where=asked, limit=top)
    rows = [[r.feature, r.density, r.count, r.max, r.mean, r.cosine, r.label and r.label.text] for r in found.rows]
    names = ["feature", "density", "tokens", "max", "mean", "enc·dec", "label"]
    table(f"{found.total:,} of {index.n_features:,} features pass", names, rows)
    write_json(json_path, {"where": asked.text, "total": found.total, "features": [asdict(r) for r in found.rows]})
