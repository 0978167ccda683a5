"""A harvested store of small Python modules, read by the tiny model, and SAEs of which one knows how good they are."""

from pathlib import Path

import pytest
import torch

from saelab.corpora import Document
from saelab.harvest import HarvestConfig, harvest
from saelab.lm import LanguageModel
from saelab.sae import SAE, VARIANTS, sae_config

SITE = "blocks.1.hook_resid_post"
MODULE = '''\
"""Module {n}."""


def f{n}(a, b):
    # add {n}
    return a + {n} * b
'''


@pytest.fixture(scope="session")
def lm(tiny_lm_dir) -> LanguageModel:
    return LanguageModel.load(str(tiny_lm_dir), device="cpu")


def write_documents(folder: Path, text: str, heldout: int = 6) -> None:
    """Files of `text`, `heldout` of which are held out, and six that are not."""
    folder.mkdir()
    left = {True: heldout, False: 6}
    for n in range(2000):
        document = Document(f"m{n}.txt", text.format(n=n))
        if left[document.heldout]:
            left[document.heldout] -= 1
            (folder / document.name).write_text(document.text, encoding="utf-8")


@pytest.fixture(scope="session")
def make_store(tmp_path_factory, lm, tiny_lm_dir):
    """Harvests a corpus of the same text over and over."""

    def make(text: str, heldout: int = 6):
        root = tmp_path_factory.mktemp("run")
        write_documents(root / "text", text, heldout)
        values = {
            "model": str(tiny_lm_dir),
            "corpus": {"kind": "files", "paths": [str(root / "text")]},
            "sites": ["resid_post.1"],
            "tokens": 200,
            "heldout_tokens": 100,
            "dtype": "float32",
            "out": str(root / "store"),
        }
        return harvest(HarvestConfig.model_validate(values), lm=lm)

    return make


@pytest.fixture(scope="session")
def store(make_store):
    return make_store(MODULE)


@pytest.fixture
def identity() -> SAE:
    """Features x+ and x- of every coordinate: of the 64, the 32 that are above zero give x back to the digit."""
    sae = VARIANTS["topk"](sae_config({"variant": "topk", "d_in": 32, "d_sae": 64, "k": 32})).eval()
    both = torch.cat([torch.eye(32), -torch.eye(32)])
    sae.W_enc.data, sae.W_dec.data = both.t().clone(), both.clone()
    sae.metadata = {"hook_name": SITE}
    return sae


@pytest.fixture
def zero(identity) -> SAE:
    """Reproduces nothing."""
    identity.W_dec.data.zero_()
    return identity
