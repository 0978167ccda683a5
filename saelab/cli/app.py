"""`saelab app`."""

from pathlib import Path

import click


@click.command()
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=Path("runs/demo"))
@click.option("--port", default=8501, show_default=True, help="Port on this machine.")
@click.option("--browser/--no-browser", default=True, help="Open a browser window.")
def command(folder: Path, port: int, browser: bool) -> None:
    """Browse, steer and ablate in the browser. Listens on this machine only.

    \b
        saelab app runs/demo
    """
    from saelab.app.launch import launch

    launch(folder, port=port, browser=browser)
