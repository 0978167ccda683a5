"""`saelab ablate`."""

from dataclasses import asdict
from pathlib import Path

import click

from saelab.cli.output import json_option, table, write_json


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--feature", "features", multiple=True, required=True, type=int, help="May be given many times.")
@click.option("--prompt", required=True, help="Text to measure on.")
@click.option("--mode", type=click.Choice(["zero", "mean"]), default="zero", show_default=True)
@json_option
def command(checkpoint: Path, features: tuple[int, ...], prompt: str, mode: str, json_path: Path | None) -> None:
    """What taking features away does at every position: loss, KL, and the logit of the next token.

    The full effect reruns the rest of the model; the direct effect goes straight to the unembedding.

    \b
        saelab ablate runs/demo/sae/topk-2048-k32 --feature 12 --prompt "for i in range(10):"
    """
    from saelab.intervene import ablate
    from saelab.runs import index_of, language_model_of
    from saelab.sae import SAE

    sae, index = SAE.load(checkpoint), index_of(checkpoint)
    lm = language_model_of(sae)
    result = ablate(lm, sae, features, lm.prompt(prompt), mode=mode, means=index.mean(features))
    columns = ["token", "activation", "next", "Δlogit full", "Δlogit direct", "Δloss", "KL"]
    table(f"{mode} ablation of {', '.join(map(str, features))} at {sae.metadata['hook_name']}", columns, result.rows())
    write_json(json_path, asdict(result))
