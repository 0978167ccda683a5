"""`saelab index`."""

from pathlib import Path

import click

from saelab.cli.output import console, progress


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--store", "store_path", type=click.Path(path_type=Path), help="Rows to read; default: DIR/store.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write; default: DIR/index/NAME.")
@click.option("--no-model", is_flag=True, help="Do without the language model: no logit effects, no token strings.")
def command(checkpoint: Path, store_path: Path | None, out: Path | None, no_model: bool) -> None:
    """Build the index of a checkpoint: statistics, examples, logit effects, neighbours, labels.

    \b
        saelab index runs/demo/sae/topk-2048-k32
    """
    from saelab.features import build_index
    from saelab.runs import index_folder, language_model_of, store_of
    from saelab.sae import SAE
    from saelab.store import Store

    store = Store.open(store_path) if store_path else store_of(checkpoint)
    with progress() as bar:
        lm = None if no_model else language_model_of(SAE.load(checkpoint))
        index = build_index(checkpoint, store, out or index_folder(checkpoint), lm=lm, progress=bar)
    console.print(f"{index.path}: {index.n_features:,} features over {index.n_tokens:,} tokens", markup=False)
    console.print(f"Next: saelab app {index.path.parent.parent}", markup=False)
