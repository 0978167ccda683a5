"""`saelab bench`: a command per benchmark."""

import click

from saelab.cli.bench import gpu, harvest, kernels, sweep, train


@click.group()
def command() -> None:
    """What this machine does, as ratios measured side by side in one run.

    \b
        saelab bench harvest
    """


for one in (kernels, train, gpu, harvest, sweep):
    command.add_command(one.command)
