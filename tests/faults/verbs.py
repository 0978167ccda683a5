"""What a forked process runs: one verb of the command line on one thread."""


def run_verb(arguments: list[str]) -> None:
    import torch

    from saelab.cli import cli

    torch.set_num_threads(1)
    cli(arguments, standalone_mode=False)
