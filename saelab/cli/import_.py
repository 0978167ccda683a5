"""`saelab import`."""

from pathlib import Path

import click

from saelab.cli.output import json_option, progress, write_json


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--format", "format_name", metavar="NAME", help="Default: found out from the files.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR",
              help="The new checkpoint, RUN/sae/NAME; a folder of them where PATH holds several.")  # fmt: skip
@click.option("--model", help="Language model whose activations the SAE reads, where the files do not say.")
@click.option("--site", help="Where in it, as resid_post.8, where the files do not say.")
@click.option("--target", metavar="SITE", help="What a transcoder reproduces, where the files do not say.")
@json_option
def command(
    path: Path, format_name: str | None, out: Path, model: str | None, site: str | None, target: str | None,
    json_path: Path | None,
) -> None:  # fmt: skip
    """Make saelab checkpoints of another library's SAEs: SAELens, sparsify, dictionary_learning, Gemma Scope and more.

    \b
        saelab import exported --out runs/imported/sae/layers.2 --model pico
    """
    from saelab.cli.converted import as_json, show
    from saelab.interop import import_saes

    with progress() as bar:
        found = import_saes(path, out, format_name, model, site, target, bar)
    show(f"imported from {found.format}", found)
    write_json(json_path, as_json(found))
