"""A run small enough to be made in seconds, and the app opened on it without a browser."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest

from saelab.app.launch import FOLDER, MAIN
from saelab.config import settings
from saelab.features import Index, IndexConfig, build_index, write_labels
from saelab.harvest import HarvestConfig, harvest
from saelab.lm import LanguageModel
from saelab.sae import VARIANTS, sae_config

SITE = "blocks.1.hook_resid_post"
NAME = "topk-24-k3"
DEAD = 7
HOSTILE = "<script>alert(1)</script> **bold** :material/bolt: \u202e"
TEXTS = ["def area(w, h):\n\treturn w * h  # <b>&amp;</b>\n", "for i in range(10):\n    print(i)\n", "import os, sys\n"]


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory, tiny_lm_dir: Path) -> Path:
    """DIR/sae/<name> and DIR/index/<name>: a random TopK SAE with one dead feature, labels, and measured figures."""
    folder = tmp_path_factory.mktemp("run")
    lm = LanguageModel.load(str(tiny_lm_dir), device="cpu")
    store = harvest(_harvest(folder, tiny_lm_dir), lm=lm)
    checkpoint = _checkpoint(folder / "sae" / NAME, str(tiny_lm_dir))
    index = build_index(checkpoint, store, folder / "index" / NAME, lm, cfg=IndexConfig(before=6, after=4))
    _label(index)
    (checkpoint / "training.json").write_text(json.dumps({"heldout": {"fvu": 0.123, "l0": 3.0, "dead_share": 0.25}}))
    return folder


def _harvest(folder: Path, model: Path) -> HarvestConfig:
    texts = folder / "texts"
    texts.mkdir()
    for i in range(12):
        (texts / f"<i>{i}.txt").write_text(TEXTS[i % 3] * 3, encoding="utf-8")
    values = {"model": str(model), "corpus": {"kind": "files", "paths": [str(texts)]}, "sites": [SITE], "tokens": 300,
              "heldout_tokens": 0, "batch": 2, "out": str(folder / "store"), "device": "cpu"}  # fmt: skip
    return settings(HarvestConfig, values, where="test")


def _checkpoint(path: Path, model: str) -> Path:
    cfg = sae_config({"variant": "topk", "d_in": 32, "d_sae": 24, "k": 3})
    sae = VARIANTS["topk"](cfg, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        sae.b_enc[DEAD] = -1000.0
    sae.save(path, {"model_name": model, "hook_name": SITE, "context_size": 32})
    return path


def _label(index: Index) -> None:
    first, second = (row.feature for row in index.features(limit=2).rows)
    write_labels(index.path, {first: {"label": HOSTILE, "f1": 0.91}, second: {"label": "comment", "f1": 0.5}})


@pytest.fixture(scope="session")
def dead() -> int:
    """A feature that never fires."""
    return DEAD


@pytest.fixture(scope="session")
def index(run_dir: Path) -> Index:
    return Index.open(run_dir / "index" / NAME)


@pytest.fixture(scope="session")
def busiest(index: Index) -> int:
    """The feature that fires most; its label is hostile."""
    return index.features(limit=1).rows[0].feature


@pytest.fixture
def open_page(run_dir: Path) -> Iterator[Any]:
    """Opens a page of the app, as a link with these query parameters would."""
    before = os.environ.get(FOLDER)
    os.environ[FOLDER] = str(run_dir)

    def page(name: str, **query: str) -> AppTest:
        app = AppTest.from_file(str(MAIN), default_timeout=120)
        app.run()
        if name != "overview":
            app.switch_page(f"views/{name}.py")
        for key, value in query.items():
            app.query_params[key] = value
        return app.run()

    yield page
    os.environ.pop(FOLDER) if before is None else os.environ.__setitem__(FOLDER, before)
