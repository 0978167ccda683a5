"""A small run on disk, and the command line called in this process."""

import hashlib
import sys
from pathlib import Path

import pytest
import yaml

from saelab.cli import main

ROWS = 600


class Place:
    """A folder with some text, a harvest, an SAE and an index of it."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.model = folder, model

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    @property
    def harvest(self) -> Path:
        """Settings of a harvest into `new`, to be changed with --set."""
        return self.yaml(
            "harvest.yaml",
            {
                "model": str(self.model),
                "corpus": {"kind": "files", "paths": [str(self / "texts")]},
                "sites": ["resid_post.1"],
                "tokens": ROWS,
                "heldout_tokens": 0,
                "shard_rows": 200,
                "out": str(self / "new"),
            },
        )

    @property
    def train(self) -> Path:
        """Settings of a training on `store` into `sae`."""
        return self.yaml(
            "train.yaml",
            {
                "store": str(self / "store"),
                "sae": {"variant": "topk", "d_sae": 64, "k": 4},
                "train": {"rows": ROWS, "batch": 64},
                "out": str(self / "sae"),
                "name": "small",
            },
        )

    def yaml(self, name: str, values: dict) -> Path:
        path = self / name
        path.write_text(yaml.safe_dump(values))
        return path

    def write(self, name: str, data: bytes) -> Path:
        path = self / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path


def damage(path: Path) -> None:
    """Flip the bits of the byte in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


def call(arguments: list[str]) -> int:
    """The exit code of `saelab ARGUMENTS`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["saelab", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
    return int(stop.value.code or 0)


def contents(folder: Path) -> dict[str, str]:
    """Digest of every file; folders count as well."""
    paths = sorted(folder.rglob("*"))
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in paths
    }
