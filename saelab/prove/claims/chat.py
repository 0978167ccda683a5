"""`sequence_mode: fast` on conversations, beside text in blocks and conversations in blocks; shown with topk.

The bundled model is no chat model. The conversations ask for functions of the standard library by their first line and
docstring, and answer with what follows, in a template of two marked lines.
"""

import ast
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from saelab.config import settings
from saelab.corpora import PythonStdlib, PythonStdlibConfig, split_documents
from saelab.metrics import fvu
from saelab.prove.claim import AtMost, Claim
from saelab.prove.on_pico import ROWS, folder_for, harvested, model
from saelab.sae import SAE
from saelab.store import Store
from saelab.train import TrainConfig, train

SITE = "resid_post.2"
TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}\n{% endfor %}"
SHORTEST = 60  # characters of an answer
NO_CHAT = (
    "The paper's gain is largest at the special tokens of instruction-tuned models, whose activations are massive. The "
    "bundled model is no such model, and its template has no special token."
)
PAPER = '"FAST: finetuning-aligned sequential training" (2025)'


@cache
def conversations() -> str:
    """A file of them, one a line."""
    file = folder_for("chat") / "conversations.jsonl"
    with file.open("w", encoding="utf-8") as out:
        for document in split_documents(PythonStdlib(PythonStdlibConfig()), "train"):
            for asked, answered in _functions(document.text):
                turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
                out.write(json.dumps({"messages": turns}) + "\n")
    return str(file)


def _functions(source: str) -> Iterator[tuple[str, str]]:
    """(first lines and docstring, the rest) of every function with a docstring and something behind it."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) and len(node.body) > 1:
            answer = "\n".join(lines[node.body[1].lineno - 1 : node.end_lineno])
            if len(answer) >= SHORTEST:
                yield "\n".join(lines[node.lineno - 1 : node.body[0].end_lineno]), answer


@cache
def chats(**how: Any) -> Store:
    """Rows of the conversations."""
    corpus = {"kind": "files", "paths": (conversations(),), "column": "messages"}
    model().tokenizer.chat_template = TEMPLATE
    return harvested((SITE,), tuple(corpus.items()), chat=True, **how).store


def blocks_of_text() -> Store:
    """Rows of the library's source, as the model was trained on it."""
    return harvested((SITE,)).store


@cache
def missed(seed: int, kind: str) -> float:
    """FVU on held-out conversations of an SAE trained on rows of this kind."""
    stores = {"fast": lambda: chats(sequence_mode="fast"), "chat in blocks": lambda: chats(packing="concat"),
              "text in blocks": blocks_of_text}  # fmt: skip
    values = {
        "store": str(stores[kind]().path),
        "site": SITE,
        "sae": {"variant": "topk", "d_sae": 2048, "k": 32},
        "train": {"rows": ROWS, "seed": seed},
        "name": "sae",
        "out": str(folder_for("fast")),
    }
    (result,) = train(settings(TrainConfig, values, where="prove"))
    rows = stores["fast"]().read(SITE, "heldout").float()
    sae = SAE.load(result.path)
    return fvu(rows, sae.decode_sparse(sae.encode_sparse(rows)))


CLAIMS = (
    Claim(
        "topk-fast", "topk", "pico", "FVU on conversations, trained on them sample by sample over trained on text",
        AtMost(0.8), lambda seed: missed(seed, "fast") / missed(seed, "text in blocks"), PAPER, slow=True,
        note=NO_CHAT,
    ),
    Claim(
        "topk-fast-blocks", "topk", "pico", "FVU on conversations, sample by sample over joined into blocks",
        AtMost(1.0), lambda seed: missed(seed, "fast") / missed(seed, "chat in blocks"), PAPER, slow=True,
    ),
)  # fmt: skip
