"""`saelab pretrain`."""

from dataclasses import asdict
from pathlib import Path

import click

from saelab.cli.output import console, json_option, progress, set_option, table, write_json


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@set_option
@json_option
def command(config: Path, changes: tuple[str, ...], json_path: Path | None) -> None:
    """Train a byte-level BPE and a GPT-2-style language model; run it again to go on after a stop.

    \b
        saelab pretrain configs/pretrain/pico.yaml --set out=runs/pico
    """
    from saelab.config import load_settings
    from saelab.pretrain.config import PretrainConfig
    from saelab.pretrain.run import pretrain

    cfg = load_settings(PretrainConfig, config, changes)
    with progress() as bar:
        result = asdict(pretrain(cfg, bar))
    table(f"{cfg.out}", ["figure", "value"], list(result.items()))
    write_json(json_path, result)
    console.print(f"Use it: saelab harvest configs/harvest/pico.yaml --set model={cfg.out}")
