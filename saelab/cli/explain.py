"""`saelab explain`."""

from pathlib import Path

import click

from saelab.cli.output import json_option, progress, table, write_json


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--feature", "features", multiple=True, type=int, required=True, help="May be given several times.")
@click.option("--score", "with_score", is_flag=True, help="Also ask the model to tell firing from silent texts by it.")
@json_option
def command(checkpoint: Path, features: tuple[int, ...], with_score: bool, json_path: Path | None) -> None:
    """Ask a language model of your own what features stand for, and keep its words beside the index.

    It is any server with an OpenAI-compatible API, named by SAELAB_LLM_URL and SAELAB_LLM_MODEL; a key is read from
    SAELAB_LLM_KEY alone. Examples of the features, so pieces of your text, are sent there. Scores are balanced
    accuracies: 0.5 is chance.

    \b
        export SAELAB_LLM_URL=http://127.0.0.1:11434/v1 SAELAB_LLM_MODEL=qwen3
        saelab explain runs/demo/sae/topk-2048-k32 --feature 12 --score
    """
    from saelab.errors import EvalError
    from saelab.explain.explaining import explain_and_keep
    from saelab.explain.llm import LLM, MODEL, URL
    from saelab.runs import index_of, store_of

    llm = LLM.from_environment()
    if llm is None:
        raise EvalError(f"no language model is configured.\n  fix:   set {URL} and {MODEL}, or use `saelab label`")
    index = index_of(checkpoint)
    rows = index.rows(store_of(checkpoint)) if with_score else None
    with progress() as bar:
        found = [explain_and_keep(llm, index, feature, rows, bar) for feature in features]
    scores = [[each and each.balanced_accuracy for each in (one.detection, one.fuzzing)] for one in found]
    said = [(one.feature, one.text, *each) for one, each in zip(found, scores, strict=True)]
    table(f"what {llm.model} says", ("feature", "explanation", "detection", "fuzzing"), said)
    write_json(json_path, {str(one.feature): one.to_json() for one in found})
