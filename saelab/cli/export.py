"""`saelab export`."""

from pathlib import Path

import click

from saelab.cli.output import json_option, progress, write_json


@click.command()
@click.argument("checkpoints", nargs=-1, required=True, metavar="CHECKPOINT...", type=click.Path(path_type=Path))
@click.option(
    "--format", "name", required=True, metavar="NAME",
    help="saelens, sparsify, dictionary_learning, …; of features: neuronpedia, saedashboard, circuit_tracer_features.",
)  # fmt: skip
@click.option("--features", "which", metavar="A-B", help="Of features: from A to B only, both included.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="A new folder.")
@json_option
def command(checkpoints: tuple[Path, ...], name: str, which: str | None, out: Path, json_path: Path | None) -> None:
    """Write checkpoints, or what their indexes know of features, as another library's files.

    Weights are written exactly or not at all; of features, what a format asks and an index does not hold is left open,
    and named.

    \b
        saelab export runs/demo/sae/topk-2048-k32 --format sparsify --out exported
        saelab export runs/demo/sae/topk-2048-k32 --format neuronpedia --out dashboards
    """
    from saelab.cli.converted import as_json, feature_range, show
    from saelab.interop import export_features, export_saes, holds_features
    from saelab.runs import index_of

    features = feature_range(which, of_features := holds_features(name))
    with progress() as bar:
        found = (
            export_features([index_of(path) for path in checkpoints], out, name, features, bar)
            if of_features
            else export_saes(checkpoints, out, name)
        )
    show(f"exported as {found.format}", found)
    write_json(json_path, as_json(found))
