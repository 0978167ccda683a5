"""`saelab verify`."""

from pathlib import Path

import click

from saelab.cli.output import console, json_option, progress, write_json


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@json_option
@click.pass_context
def command(ctx: click.Context, folder: Path, json_path: Path | None) -> None:
    """Check an artefact, or every one of a run: sizes, checksums, completeness. Exit code 2 when something is wrong.

    \b
        saelab verify runs/demo
    """
    from saelab.runs import foreign_in, verify_all

    with progress() as bar:
        found = {str(path): problems for path, problems in verify_all(folder, bar).items()}
    for path, problems in found.items():
        several = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        console.print(f"{path}: {several if problems else 'whole'}", markup=False)
        for problem in problems:
            console.print(f"  {problem}", markup=False)
    for other in foreign_in(folder):
        console.print(f"{other}: left out, an SAE in another library's format", markup=False)
    write_json(json_path, found)
    ctx.exit(2 if any(found.values()) else 0)
