"""A tiny model, and SAEs on it whose features one can tell apart."""

import pytest
import torch

from saelab.lm import LanguageModel
from saelab.sae import SAE, VARIANTS, sae_config


@pytest.fixture(scope="session")
def lm(tiny_lm_dir) -> LanguageModel:
    return LanguageModel.load(str(tiny_lm_dir), device="cpu")


def make_sae(site: str = "blocks.1.hook_resid_post", out: str | None = None, **more) -> SAE:
    """16 features of which 4 fire on a row; random, the same every time."""
    values = {"variant": "topk", "d_in": 32, "d_sae": 16, "k": 4, **more}
    sae = VARIANTS["topk"](sae_config(values), generator=torch.Generator().manual_seed(0)).eval()
    sae.metadata = {"hook_name": site, **({"hook_name_out": out} if out else {})}
    return sae


@pytest.fixture
def sae_at():
    """Makes an SAE that belongs to the site it is given."""
    return make_sae


@pytest.fixture
def sae() -> SAE:
    return make_sae()


@pytest.fixture
def transcoder() -> SAE:
    return make_sae("blocks.1.mlp.hook_in", "blocks.1.hook_mlp_out", d_out=32)
