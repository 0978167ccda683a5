"""`saelab attribute`."""

from dataclasses import asdict
from pathlib import Path

import click

from saelab.cli.output import console, json_option, table, write_json


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("text")
@click.option("--token", help="Explain this token's logit; by default the likeliest next token's.")
@click.option("--against", help="Explain how far --token's logit is above this one's.")
@click.option("--loss", is_flag=True, help="Explain the loss: of --position, else the mean over the text.")
@click.option("--position", type=int, help="After which token the prediction stands; -1 is the last.")
@click.option("--top", default=20, show_default=True, help="Features to list and to verify by ablation.")
@click.option("--drop-error", is_flag=True, help="Let the model read the SAE's reproduction, without its error.")
@json_option
def command(checkpoint: Path, text: str, token: str | None, against: str | None, loss: bool, position: int | None,
            top: int, drop_error: bool, json_path: Path | None) -> None:  # fmt: skip
    """Which features a prediction comes from: by gradient, and by ablation of each.

    \b
        saelab attribute runs/demo/sae/topk-2048-k32 "for i in range(10):" --token " print"
    """
    from saelab.intervene import Target, attribute, one_token, prompt_ids
    from saelab.runs import language_model_of
    from saelab.sae import SAE

    sae = SAE.load(checkpoint)
    lm = language_model_of(sae)
    tokens = [None if name is None else one_token(lm, name) for name in (token, against)]
    target = Target("loss" if loss else "difference" if against else "logit", position, *tokens)
    found = attribute(lm, sae, prompt_ids(lm, text), target, keep_error=not drop_error, verify=top, limit=top)
    table(f"{found.target} = {found.value:.4f}, at {found.site}", *found.table())
    console.print(f"{found.firing} features fire; over the {found.verified} ablated: "
                  f"Pearson {_figure(found.pearson)}, Spearman {_figure(found.spearman)}")  # fmt: skip
    write_json(json_path, asdict(found))


def _figure(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"
