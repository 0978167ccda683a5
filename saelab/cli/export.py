"""`saelab export`."""

from pathlib import Path

import click

from saelab.cli.output import json_option, write_json


@click.command()
@click.argument("checkpoints", nargs=-1, required=True, metavar="CHECKPOINT...", type=click.Path(path_type=Path))
@click.option(
    "--format", "format_name", required=True, metavar="NAME", help="saelens, sparsify, dictionary_learning, …"
)
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="A new folder.")
@json_option
def command(checkpoints: tuple[Path, ...], format_name: str, out: Path, json_path: Path | None) -> None:
    """Write checkpoints as another library's files, exactly or not at all.

    \b
        saelab export runs/demo/sae/topk-2048-k32 --format sparsify --out exported
    """
    from saelab.cli.converted import as_json, show
    from saelab.interop import export_saes

    found = export_saes(checkpoints, out, format_name)
    show(f"exported as {found.format}", found)
    write_json(json_path, as_json(found))
