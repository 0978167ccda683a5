"""`saelab bench`: a command per benchmark."""

import click

from saelab.cli.bench import app, gpu, harvest, kernels, quality, sweep, train, variants


@click.group()
def command() -> None:
    """What this machine does, as ratios measured side by side in one run.

    \b
        saelab bench harvest
    """


for one in (kernels, train, quality, variants, gpu, harvest, sweep, app):
    command.add_command(one.command)
