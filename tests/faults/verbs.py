"""The verbs that write, small enough to be run often, and what a forked process runs: one of them on one thread."""

import hashlib
from pathlib import Path

import yaml


def run_verb(arguments: list[str]) -> None:
    import torch

    from saelab.cli import cli

    torch.set_num_threads(1)
    cli(arguments, standalone_mode=False)


def fingerprint(folder: Path) -> dict[str, str]:
    """Every file's digest but the .duckdb's, which is generated from the parquet beside it and whose bytes DuckDB does
    not reproduce, and its marker's, which holds the checksum of those bytes."""
    files = [f for f in sorted(folder.rglob("*")) if f.is_file() and f.name != "CURRENT"]
    truth = [f for f in files if not f.with_suffix(".duckdb").is_file()]
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in truth}


def commands(run: Path, texts: Path, model: Path) -> dict[str, list[str]]:
    """By name, over one run folder."""
    run.mkdir(parents=True)
    harvest = {
        "model": str(model),
        "corpus": {"kind": "files", "paths": [str(texts)]},
        "sites": ["resid_post.1", "mlp_out.0"],
        "tokens": 40000,
        "heldout_tokens": 2000,
        "shard_rows": 4096,
        "out": str(run / "store"),
    }
    train = {
        "store": str(run / "store"),
        "site": "resid_post.1",
        "sae": [{"variant": "topk", "d_sae": 96, "k": 4}, {"variant": "jumprelu", "d_sae": 64}],
        "train": {"rows": 60000, "batch": 256},
        "eval_every": 20000,
        "save_minutes": 0.002,
        "out": str(run / "sae"),
    }
    pretrain = {
        "corpus": harvest["corpus"],
        "vocab_size": 300,
        "model": {"n_layer": 1, "n_embd": 16, "n_head": 2, "n_positions": 16},
        "train": {"tokens": 40000, "batch": 4, "warmup": 4},
        "save_minutes": 0.002,
        "out": str(run / "model"),
    }
    for verb, settings in (("pretrain", pretrain), ("harvest", harvest), ("train", train)):
        (run / f"{verb}.yaml").write_text(yaml.safe_dump(settings))
    return {
        "pretrain": ["pretrain", str(run / "pretrain.yaml")],
        "synth": ["synth", "easy", "--out", str(run / "synth"), "--rows", "60000"],
        "harvest": ["harvest", str(run / "harvest.yaml")],
        "train": ["train", str(run / "train.yaml")],
        "index": ["index", str(run / "sae" / "topk-96-k4")],
        "label": ["label", str(run / "sae" / "topk-96-k4")],
        "eval": ["eval", str(run / "sae" / "topk-96-k4"), "--only", "fidelity"],
        "export": [
            "export",
            str(run / "sae" / "jumprelu-64-l00.001"),
            "--format",
            "saelens",
            "--out",
            str(run / "exported"),
        ],
        "import": ["import", str(run / "exported"), "--out", str(run / "sae" / "imported")],
        "export features": [
            "export",
            str(run / "sae" / "topk-96-k4"),
            "--format",
            "neuronpedia",
            "--out",
            str(run / "features"),
        ],
    }
