"""`saelab contrast`."""

from dataclasses import asdict
from pathlib import Path

import click

from saelab.cli.output import console, json_option, progress, table, write_json

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@click.option("--per", type=click.Choice(["line", "paragraph"]), default="line", show_default=True,
              help="What one text is; paragraphs end at empty lines.")  # fmt: skip
@click.option("--by", type=click.Choice(["q", "effect", "difference"]), default="q", show_default=True)
@click.option("--top", default=20, show_default=True, help="Features to print.")
@json_option
def command(checkpoint: Path, a: Path, b: Path, per: str, by: str, top: int, json_path: Path | None) -> None:
    """Which features fire more in the texts of file A than in those of file B, with effect sizes and q values.

    \b
        saelab contrast runs/demo/sae/topk-2048-k32 README.md configs/harvest/pico.yaml
    """
    from saelab.features import contrast, read_texts
    from saelab.runs import index_of, language_model_of
    from saelab.sae import SAE

    sae, index = SAE.load(checkpoint), index_of(checkpoint)
    in_a, in_b = read_texts(a, per), read_texts(b, per)
    with progress() as bar:
        found = contrast(language_model_of(sae), sae, in_a, in_b, index=index, progress=bar)
    columns = ["feature", "label", "in A", "in B", "difference", "AUC", "p", "q"]
    rows = [
        [one.feature, one.label.text if one.label else None, one.rate_a, one.rate_b, one.difference, one.auc,
         f"{one.p:.2g}", f"{one.q:.2g}"]
        for one in found.ranking(by, top)
    ]  # fmt: skip
    table(f"{len(found.a)} texts of {a} (A) against {len(found.b)} of {b} (B), by {by}", columns, rows)
    how = "over every way to deal the texts" if found.exact else "by normal approximation"
    console.print(
        f"{found.significant():,} of {len(found.features):,} features that fire differ at q <= 0.05", markup=False
    )
    console.print(f"q is Benjamini-Hochberg's over all of these; p is {how}", markup=False)
    write_json(json_path, [{**asdict(one), "difference": one.difference, "rank_biserial": one.rank_biserial}
                           for one in found.ranking(by)])  # fmt: skip
