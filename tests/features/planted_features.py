"""A planted world: three directions, ten tokens in three contexts, an SAE that reads the rows off as they are.

Everything an index says of it can be worked out by hand.
"""

from pathlib import Path

import torch

from saelab.config import settings
from saelab.features import IndexConfig
from saelab.lm import LanguageModel
from saelab.sae import VARIANTS
from saelab.store import ShardColumns, Store, StoreWriter

SITE = "blocks.0.hook_resid_post"
ROWS: list[list[float]] = [  # activations of features 0, 1, 2; contexts are rows 0-3, 4-6, 7-9
    [1.0, 0, 0],
    [4, 2, 0],
    [2, 0, 0],
    [0, 0, 0],
    [4, 1, 0],
    [4, 1, 0],
    [0, 0, 8],
    [3, 1, 0],
    [0, 0, 0],
    [1, 0, 0],
]
CONTEXTS = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]
VOCABULARY = [
    "a",
    "b",
    "c",
    "<script>alert(1)</script>",
    "&amp;",
    "'; drop table features; --",
    "\u202e",
    "\n",
    "</span>",
]
VOCABULARY += ["g", "h", "docstring"]
SMALL = IndexConfig(before=1, after=1, chunk_rows=2, part_rows=4, bucket_rows=5, coactive_tokens=10)


def planted_store(path: Path, rows: list[list[float]], contexts: list[int]) -> Store:
    """A store of these rows in one shard; row r is token r of the vocabulary; context 0 is document 0, others 1."""
    ctx = torch.tensor(contexts)
    pos = torch.tensor([contexts[:r].count(c) for r, c in enumerate(contexts)])
    token = torch.arange(len(rows)) % len(VOCABULARY)
    columns = ShardColumns(
        doc=(ctx > 0).long(), pos=pos, ctx=ctx, token=token, first_row=0, first_ctx=0, contexts=int(ctx.max()) + 1
    )
    width = len(rows[0])
    about = {"name": "tiny", "fingerprint": "f00d", "n_layers": 1, "context": 8}
    with StoreWriter.begin(path, config={}, model=about, corpus={}, sites={SITE: width}, dtype="float32") as writer:
        writer.write_shard("train", 0, columns, {SITE: torch.tensor(rows, dtype=torch.float32)})
        writer.write_documents("train", {0: "first.py", 1: "second.py"})
        return writer.finish()


def planted_sae(path: Path, d: int = 3, scale: float = 1.0) -> Path:
    """A ReLU SAE that reads each direction off; one more feature copies direction 0 and never fires."""
    relu = VARIANTS["relu"]
    sae = relu(settings(relu.Config, {"d_in": d, "d_sae": d + 1}, where="planted"))
    rows = torch.cat([torch.eye(d), torch.eye(d)[:1]])
    with torch.no_grad():
        sae.W_enc.copy_(scale * rows.T)
        sae.W_dec.copy_(rows)
        sae.b_enc.copy_(torch.tensor([0.0] * d + [-100.0]))
        sae.b_dec.zero_()
    sae.save(path, {"hook_name": SITE, "model_name": "tiny"})
    return path


class Unembedding(LanguageModel):
    """A language model as far as an index needs one: token 5 is direction 0, token 11 direction 1."""

    def __init__(self) -> None:
        self.name, self.fingerprint, self.n_vocab = "tiny", "f00d", len(VOCABULARY)

    @property
    def W_U(self):
        unembedding = torch.zeros(3, len(VOCABULARY))
        unembedding[0, 5] = unembedding[1, 11] = 12.0
        return unembedding

    @property
    def final_gain(self):
        return torch.tensor([2.0, 1.0, 1.0])

    def output_direction(self, site, W_dec):
        return W_dec

    def token_strings(self, ids):
        return [VOCABULARY[i] for i in ids]
