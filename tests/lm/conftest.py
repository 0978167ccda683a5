"""Tiny models of two families, each beside the plain Hugging Face model it was made from."""

import warnings
from pathlib import Path

import pytest
import torch

from saelab.lm import LanguageModel


@pytest.fixture(scope="session")
def plain():
    """Load the model in a folder as transformers has it."""
    from transformers import AutoModelForCausalLM

    def load(folder):
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()

    return load


@pytest.fixture(scope="session")
def tiny_llama_dir(tmp_path_factory, tiny_lm_dir) -> Path:
    """A Llama with 2 blocks, d_model 32, 4 heads of which 2 share keys, gated MLPs and no MLP or norm bias."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny-llama")
    AutoTokenizer.from_pretrained(tiny_lm_dir).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=257,
        hidden_size=32,
        intermediate_size=48,
        max_position_embeddings=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def folders(tiny_lm_dir, tiny_llama_dir) -> dict[str, Path]:
    return {"gpt2": tiny_lm_dir, "llama": tiny_llama_dir}


@pytest.fixture(scope="session")
def models(folders) -> dict[str, LanguageModel]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return {name: LanguageModel.load(str(folder), device="cpu") for name, folder in folders.items()}


@pytest.fixture(scope="session")
def originals(folders, plain):
    return {name: plain(folder) for name, folder in folders.items()}


@pytest.fixture
def ids():
    return torch.randint(1, 257, (2, 7), generator=torch.Generator().manual_seed(1))
