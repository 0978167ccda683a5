"""`saelab ablate`."""

from dataclasses import asdict
from pathlib import Path

import click

from saelab.cli.output import console, json_option, table, write_json

MODES = ("zero", "mean", "firing-mean", "resample")


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--feature", "features", multiple=True, required=True, type=int, help="May be given many times.")
@click.option("--prompt", required=True, help="Text to measure on.")
@click.option("--mode", type=click.Choice(MODES), default="zero", show_default=True)
@click.option("--other", help="For resample: the text whose activations are put in.")
@click.option("--seed", default=0, show_default=True, help="For resample: which of its tokens.")
@click.option("--position", type=int, help="Ablate at this token alone; -1 is the last.")
@click.option("--token", help="Follow this token's logit, instead of the next token's.")
@click.option("--drop-error", is_flag=True, help="Let the model read the SAE's reproduction, without its error.")
@json_option
def command(checkpoint: Path, features: tuple[int, ...], prompt: str, mode: str, other: str | None, seed: int,
            position: int | None, token: str | None, drop_error: bool, json_path: Path | None) -> None:  # fmt: skip
    """What taking features away does at every position: loss, KL, and the logit of the next token.

    The full effect reruns the rest of the model; the direct effect goes straight to the unembedding.

    \b
        saelab ablate runs/demo/sae/topk-2048-k32 --feature 12 --prompt "for i in range(10):"
    """
    from saelab.intervene import ablate, one_token, prompt_ids
    from saelab.runs import index_of, language_model_of, means_of
    from saelab.sae import SAE

    sae = SAE.load(checkpoint)
    lm = language_model_of(sae)
    result = ablate(
        lm, sae, features, prompt_ids(lm, prompt), mode=mode, means=means_of(index_of(checkpoint), features, mode),
        source=None if other is None else prompt_ids(lm, other), seed=seed, position=position,
        target=None if token is None else one_token(lm, token), keep_error=not drop_error,
    )  # fmt: skip
    columns = ["token", "activation", "next", "Δlogit full", "Δlogit direct", "Δloss", "KL"]
    table(f"{mode} ablation of {', '.join(map(str, features))} at {result.site}", columns, result.rows())
    if not result.error_kept:
        cost = sum(result.splice_kl) / len(result.splice_kl)
        console.print(f"compared to the model that reads x_hat; its own mean KL from the model is {cost:.4f} nats")
    write_json(json_path, asdict(result))
