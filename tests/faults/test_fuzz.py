"""Random damage to every kind of file that may come from elsewhere: read, or refused by one of our own errors.

Some seconds for each kind; SAELAB_FUZZ_SECONDS=600 for ten minutes. What fails can be repeated by its seed.
"""

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from saelab.config import load_settings
from saelab.corpora import open_corpus
from saelab.corpora.files import FilesConfig
from saelab.errors import SaelabError
from saelab.features.labels import read_labels
from saelab.features.notes import read_notes
from saelab.interop.files import open_npz, open_pt, open_safetensors, read_json
from saelab.sae import SAE, VARIANTS, sae_config
from saelab.train import TrainConfig

SECONDS = float(os.environ.get("SAELAB_FUZZ_SECONDS", "2"))
PIECES = (
    b"\x00",
    b"\xff",
    b"{",
    b"[[[[",
    b"}",
    b'"',
    b"-1",
    b"1e999",
    b"9" * 20,
    b"../",
    b"null",
    b"NaN",
    b"\n",
    b"&a *a",
)


def checkpoint(folder: Path) -> None:
    torch.manual_seed(0)
    VARIANTS["topk"](sae_config({"variant": "topk", "d_in": 4, "d_sae": 7, "k": 2})).save(folder)


def labels(folder: Path) -> None:
    (folder / "labels.json").write_text(json.dumps({"3": {"label": "comment", "f1": 0.9}}))


def notes(folder: Path) -> None:
    note = {"label": "a", "note": "b", "changed": "2026-01-01"}
    (folder / "notes.json").write_text(json.dumps({"format": 1, "weights": "w", "notes": {"3": note}}))


def lines(folder: Path) -> None:
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": f"text {i}", "n": i}) + "\n" for i in range(5)))


def rows(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": [f"text {i}" for i in range(50)]}), folder / "a.parquet")


def all_of(folder: Path, name: str) -> None:
    corpus = open_corpus(FilesConfig(kind="files", paths=[str(folder / name)]))
    for _ in corpus.documents():
        pass


# kind -> (writes a whole one into a folder, the file that is damaged, reads it)
READERS: dict[str, tuple[Callable[[Path], object], str, Callable[[Path], object]]] = {
    "cfg.json": (checkpoint, "cfg.json", SAE.load),
    "weights": (checkpoint, "sae_weights.safetensors", SAE.load),
    "safetensors": (
        lambda f: save_file({"a": torch.ones(3, 4)}, f / "a.safetensors"),
        "a.safetensors",
        lambda f: open_safetensors(f / "a.safetensors").load(),
    ),
    "npz": (lambda f: np.savez(f / "a.npz", a=np.ones((3, 4), "f4")), "a.npz", lambda f: open_npz(f / "a.npz").load()),
    "pt": (
        lambda f: torch.save({"a": torch.ones(5, 7), "k": torch.tensor(3)}, f / "a.pt"),
        "a.pt",
        lambda f: open_pt(f / "a.pt").load(),
    ),
    "config.json": (
        lambda f: (f / "config.json").write_text(json.dumps({"d_in": 4, "k": [1, {"a": None}], "x": "y"})),
        "config.json",
        lambda f: read_json(f / "config.json"),
    ),
    "settings": (
        lambda f: (f / "a.yaml").write_text(yaml.safe_dump({"store": "x", "sae": {"variant": "topk", "d_sae": 9}})),
        "a.yaml",
        lambda f: load_settings(TrainConfig, f / "a.yaml"),
    ),
    "labels": (labels, "labels.json", read_labels),
    "notes": (notes, "notes.json", lambda f: read_notes(f, "w")),
    "jsonl": (lines, "a.jsonl", lambda f: all_of(f, "a.jsonl")),
    "parquet": (rows, "a.parquet", lambda f: all_of(f, "a.parquet")),
}


def damaged(content: bytes, rng: random.Random) -> bytes:
    """One to eight flips, cuts, insertions, deletions, repetitions."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        at, size = rng.randrange(len(data) + 1), rng.randrange(1, 9)
        what = rng.randrange(6)
        if what <= 1 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif what == 2:
            data[at : at + size] = b""
        elif what == 3:
            data[at:at] = rng.choice([rng.randbytes(size), rng.choice(PIECES)])
        elif what == 4:
            data[at:at] = data[at : at + 8 * size]
        else:
            del data[at:]
    return bytes(data)


@pytest.mark.parametrize("kind", READERS)
def test_a_damaged_file_is_read_or_refused(tmp_path, kind):
    write, name, read = READERS[kind]
    write(tmp_path)
    read(tmp_path)  # whole, it is read
    content, seed, refused = (tmp_path / name).read_bytes(), 0, 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end or seed < 20:
        (tmp_path / name).write_bytes(damaged(content, random.Random(seed)))
        try:
            read(tmp_path)
        except SaelabError:
            refused += 1
        except Exception as error:
            shutil.copy(tmp_path / name, tmp_path.parent / f"{kind}-{seed}")
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
        seed += 1
    print(f"{kind}: {seed:,} damaged files, {refused:,} refused, the others read")  # shown by -rP
    assert refused or kind == "notes"  # which are never refused: what cannot be read is said beside them
