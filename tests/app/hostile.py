"""A run whose language model has tokens that somebody made to do harm, and likes them best of all."""

from pathlib import Path

import torch
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from saelab.config import settings
from saelab.features import IndexConfig, build_index, write_labels
from saelab.harvest import HarvestConfig, harvest
from saelab.lm import LanguageModel
from saelab.sae import VARIANTS, sae_config
from saelab.signs import quoted

SITE = "blocks.1.hook_resid_post"
NAME = "topk-24-k3"
LONG = "A" * 10_000
TOKENS = (
    "<script>alert(1)</script>",
    "<img src=https://example.com/x onerror=alert(2)>",
    "</span>",
    "&#x41;",
    "**markdown**",
    "![picture](https://example.com/y.png)",
    "[link](javascript:alert(3))",
    ":material/home:",
    ":red[red]",
    "$x^2$",
    "\u202etxet",
    "zero\u200bwidth",
    LONG,
)
TEXT = "".join(f"{token} " for token in TOKENS if token != LONG)
LOUD = 6.0  # times as long as other embeddings: so these tokens lead every list of logits, and are generated


def hostile_lm(tiny: Path, folder: Path) -> Path:
    """A copy of the tiny language model with these tokens beside its bytes."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tiny)
    known = len(tokenizer)
    tokenizer.add_tokens(list(TOKENS))
    tokenizer.save_pretrained(folder)
    model = GPT2LMHeadModel.from_pretrained(tiny)
    torch.manual_seed(1)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    with torch.no_grad():
        model.transformer.wte.weight[known:] *= LOUD
    model.save_pretrained(folder)
    return folder


def hostile_run(folder: Path, model: Path) -> Path:
    """DIR/sae/<name> and DIR/index/<name>, and labels as rules would put them."""
    texts = folder / "texts"
    texts.mkdir()
    for i in range(6):
        (texts / f"<b onclick=alert(4)>{i}.txt").write_text(f"{LONG} def {TEXT}\n" * 3, encoding="utf-8")
    values = {"model": str(model), "corpus": {"kind": "files", "paths": [str(texts)]}, "sites": [SITE], "tokens": 400,
              "heldout_tokens": 0, "batch": 2, "out": str(folder / "store"), "device": "cpu"}  # fmt: skip
    lm = LanguageModel.load(str(model), device="cpu")
    store = harvest(settings(HarvestConfig, values, where="test"), lm=lm)
    checkpoint = folder / "sae" / NAME
    cfg = sae_config({"variant": "topk", "d_in": 32, "d_sae": 24, "k": 3})
    VARIANTS["topk"](cfg, generator=torch.Generator().manual_seed(0)).save(
        checkpoint, {"model_name": str(model), "hook_name": SITE, "context_size": 32}
    )
    index = build_index(checkpoint, store, folder / "index" / NAME, lm, cfg=IndexConfig(before=6, after=4))
    said = {i: {"label": f"on {quoted(TOKENS[i % len(TOKENS)])}", "kind": "token", "f1": 0.9} for i in range(24)}
    write_labels(index.path, said)
    return folder
