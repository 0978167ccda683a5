"""`saelab steer`."""

from dataclasses import asdict
from pathlib import Path

import click

from saelab.cli.output import console, json_option, progress, table, write_json

MODES = ("add", "scale", "clamp")
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
@click.option("--feature", "features", multiple=True, required=True, metavar="FEATURE=STRENGTH", help="As in 12=4.")
@click.option("--prompt", required=True, help="Text to go on from.")
@click.option("--mode", type=click.Choice(MODES), default="add", show_default=True)
@click.option("--positions", type=click.Choice(POSITIONS), default="all", show_default=True)
@click.option("--tokens", default=60, show_default=True, help="Tokens to generate.")
@click.option("--temperature", default=0.7, show_default=True, help="0 takes the likeliest token.")
@click.option("--seed", default=0, show_default=True)
@click.option("--seeds", default=1, show_default=True, help="How many seeds to run, from --seed on.")
@click.option("--dose", is_flag=True, help="Instead: what the first feature does at rising strengths, with controls.")
@click.option("--chat", is_flag=True, help="Put the prompt through the model's chat template.")
@json_option
def command(checkpoint: Path, features: tuple[str, ...], prompt: str, mode: str, positions: str, tokens: int,
            temperature: float, seed: int, seeds: int, dose: bool, chat: bool,
            json_path: Path | None) -> None:  # fmt: skip
    """Generate with features turned up, beside the text without. Strength is in units of the feature's maximum.

    \b
        saelab steer runs/demo/sae/topk-2048-k32 --feature 12=2 --prompt "def area(width, height):"
    """
    from saelab.intervene import Steer, dose_curve, steer
    from saelab.runs import index_of, language_model_of
    from saelab.sae import SAE

    wanted = [feature_and_strength(text) for text in features]
    steers = [Steer(feature, strength, mode, positions) for feature, strength in wanted]
    sae = SAE.load(checkpoint)
    maxima = index_of(checkpoint).maximum([one.feature for one in steers])
    lm = language_model_of(sae)
    if dose:
        card = index_of(checkpoint).card(steers[0].feature)
        with progress() as bar:
            curve = dose_curve(lm, sae, steers[0], float(maxima[0]), prompt, card.promoted_tokens, steps=tokens,
                               seeds=max(seeds, 2), temperature=temperature, chat=chat, progress=bar)  # fmt: skip
        table(f"feature {steers[0].feature} at rising strengths, means over {curve.seeds} seeds", *curve.table())
        console.print("target: probability, after the prompt, of", *map(repr, curve.targets), markup=False)
        write_json(json_path, asdict(curve))
        return
    results = []
    for number in range(seed, seed + seeds):
        result = steer(lm, sae, steers, maxima, prompt, steps=tokens, temperature=temperature, seed=number, chat=chat)
        results.append({"seed": number, **asdict(result)})
        for name, text in (("default", result.default), ("steered", result.steered)):
            console.rule(f"{name}, seed {number}", align="left")
            console.print(prompt + text, markup=False)
    write_json(json_path, results)
