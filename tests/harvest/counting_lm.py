"""A language model whose activations say which token they belong to: [token, position, layer, 1]."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from saelab.harvest import HarvestConfig
from saelab.lm import LanguageModel
from saelab.lm.sites import layer

CONTEXT = 8
SITES = ("blocks.0.hook_resid_post", "blocks.1.hook_mlp_out")


class CountingLM(LanguageModel):
    """Bytes as tokens, 0 as BOS; counts the tokens it is run on."""

    def __init__(self, fingerprint: str = "counting") -> None:
        self.name, self.fingerprint = "counting", fingerprint
        self.n_layers, self.d_model, self.n_vocab, self.context = 2, 4, 256, CONTEXT
        self.bos, self.special = 0, frozenset({0, ord("#")})
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.ran = 0

    def d_site(self, site: str) -> int:
        return 4

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def activations(self, ids: Tensor, at: Sequence[str]) -> dict[str, Tensor]:
        self.ran += ids.numel()
        place = torch.arange(ids.shape[1]).expand(ids.shape)
        columns = {site: [ids, place, torch.full_like(ids, layer(site)), torch.ones_like(ids)] for site in at}
        return {site: torch.stack(parts, dim=-1).float() for site, parts in columns.items()}


class Heard:
    """A Progress that remembers."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.done = 0

    def start(self, what: str, total: int, unit: str) -> None: ...

    def advance(self, done: int, **figures: float) -> None:
        self.done += done

    def note(self, text: str) -> None:
        self.notes.append(text)


def write_corpus(folder: Path, documents: int = 120) -> Path:
    """Texts of 3 to 40 letters: enough of them that some are held out, whatever the folder is called."""
    folder.mkdir()
    for number in range(documents):
        (folder / f"{number:03d}.txt").write_text((chr(97 + number % 26) + "bcdefgh#ij" * 4)[: 3 + number % 38])
    return folder


def config(folder: Path, out: Path, **changes) -> HarvestConfig:
    values = {
        "corpus": {"kind": "files", "paths": [str(folder)]},
        "sites": ["resid_post.0", "mlp_out.1"],
        "tokens": 500,
        "heldout_tokens": 20,
        "shard_rows": 64,
        "batch": 3,
        "dtype": "float32",
        "out": out,
    }
    return HarvestConfig.model_validate({**values, **changes})
