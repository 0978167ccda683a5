"""`saelab steer`."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from saelab.cli.output import console, json_option, progress, table, write_json

if TYPE_CHECKING:
    from saelab.intervene import Steer, SteerRecipe, SteerRequest

MODES = ("add", "scale", "clamp", "orthogonal", "cap")
POSITIONS = ("all", "prompt", "generated", "last")


def feature_and_strength(text: str) -> tuple[int, float]:
    """`12=4` -> (12, 4.0); the `=` and the number may be left out for a strength of 1."""
    feature, _, strength = text.partition("=")
    try:
        return int(feature), float(strength or 1)
    except ValueError:
        raise click.BadParameter(f"{text!r}: expected FEATURE=STRENGTH, as in 12=4") from None


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--feature", "features", multiple=True, metavar="FEATURE=STRENGTH", help="As in 12=4.")
@click.option("--prompt", help="Text to go on from.")
@click.option("--mode", type=click.Choice(MODES), default="add", show_default=True)
@click.option("--positions", type=click.Choice(POSITIONS), default="all", show_default=True)
@click.option("--last", default=1, show_default=True, help="For --positions last: how many tokens of the prompt.")
@click.option("--tokens", default=60, show_default=True, help="Tokens to generate.")
@click.option("--temperature", default=0.7, show_default=True, help="0 takes the likeliest token.")
@click.option("--seed", default=0, show_default=True)
@click.option("--seeds", default=1, show_default=True, help="How many seeds to run, from --seed on.")
@click.option("--controls", is_flag=True, help="Also push as far in a random direction, and along another feature.")
@click.option("--dose", is_flag=True, help="Instead: what the first feature does at rising strengths, with controls.")
@click.option("--chat", is_flag=True, help="Put the prompt through the model's chat template.")
@click.option("--save", "name", metavar="NAME", help="Keep the recipe beside the run, where the app finds it.")
@click.option("--recipe", "kept", metavar="NAME", help="Instead of all these: a recipe kept beside the run.")
@click.option("--python", is_flag=True, help="With --recipe: print it as a Python program that runs, and end.")
@json_option
def command(checkpoint: Path, features: tuple[str, ...], mode: str, positions: str, last: int, tokens: int,
            prompt: str | None, temperature: float, seed: int, seeds: int, controls: bool, dose: bool, chat: bool,
            name: str | None, kept: str | None, python: bool, json_path: Path | None) -> None:  # fmt: skip
    """Generate with features turned up, beside the text without. Strength is in units of the feature's maximum.

    \b
        saelab steer runs/demo/sae/topk-2048-k32 --feature 12=2 --prompt "def area(width, height):"
        saelab steer runs/demo/sae/topk-2048-k32 --recipe mine
    """
    from saelab.intervene import Steer, SteerRecipe, SteerRequest, load_recipe, save_recipe
    from saelab.runs import run_folder

    if kept:
        if features or prompt:
            raise click.UsageError("--recipe says which features and prompt: give no --feature and no --prompt")
        recipe = load_recipe(run_folder(checkpoint), kept)
        if python:
            click.echo(recipe.snippet(run_folder(checkpoint)))
            return
        write_json(json_path, _texts(checkpoint.resolve().parent, recipe, seeds))
        return
    if not features or prompt is None:
        raise click.UsageError("give --feature and --prompt, or --recipe")
    wanted = [feature_and_strength(text) for text in features]
    steers = tuple(Steer(feature, strength, mode, positions, last) for feature, strength in wanted)
    rows = ("default", "steered", "random", "other") if controls else ("default", "steered")
    request = SteerRequest(prompt, tokens, temperature, seed, chat, rows)
    recipe = SteerRecipe(((checkpoint.resolve().name, steers),), request)
    if name:
        console.print(f"kept as {save_recipe(run_folder(checkpoint), name, recipe)}", markup=False)
    write_json(json_path, _dose(checkpoint, steers[0], request, max(seeds, 2)) if dose
               else _texts(checkpoint.resolve().parent, recipe, seeds))  # fmt: skip


def _texts(saes: Path, recipe: "SteerRecipe", seeds: int) -> list[Any]:
    """Print what every row writes, seed by seed."""
    from saelab.intervene import Steering, steer
    from saelab.runs import index_of, language_model_of
    from saelab.sae import SAE

    steerings, request = [], recipe.request
    for name, steers in recipe.saes:
        maxima = index_of(saes / name).maximum([one.feature for one in steers])
        steerings.append(Steering(SAE.load(saes / name), steers, maxima))
    lm, results = language_model_of(steerings[0].sae), []
    for seed in range(request.seed, request.seed + seeds):
        result = steer(lm, steerings, replace(request, seed=seed))
        results.append({"seed": seed, **asdict(result)})
        for row in result.rows:
            console.rule(f"{row.name}, seed {seed}", align="left")
            console.print(request.prompt + row.text, markup=False)
    return results


def _dose(checkpoint: Path, one: "Steer", request: "SteerRequest", seeds: int) -> dict[str, Any]:
    """Print one feature's dose curve, and what is its own in it."""
    from saelab.intervene import at_equal_kl, dose_curve, equal_kl_table
    from saelab.runs import index_of, language_model_of
    from saelab.sae import SAE

    sae, index = SAE.load(checkpoint), index_of(checkpoint)
    targets, maximum = index.card(one.feature).promoted_tokens, float(index.maximum([one.feature])[0])
    with progress() as bar:
        curve = dose_curve(language_model_of(sae), sae, one, maximum, request.prompt, targets, steps=request.steps,
                           seeds=seeds, temperature=request.temperature, chat=request.chat, progress=bar)  # fmt: skip
    table(f"feature {one.feature} at rising strengths, means over {curve.seeds} seeds", *curve.table())
    equal = at_equal_kl(curve)
    table("each control, and the feature where it moves the prediction as far", *equal_kl_table(equal))
    console.print("target: probability, after the prompt, of", *map(repr, curve.targets), markup=False)
    return {**asdict(curve), "at_equal_kl": [asdict(found) for found in equal]}
