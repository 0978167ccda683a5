"""Held-out Python documents as a model's tokens, each with its labels, in two halves."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from saelab.contracts import Progress
from saelab.corpora import Context, Document, contexts, split_documents
from saelab.corpora.document import in_halves
from saelab.errors import EvalError
from saelab.evals.heldout import heldout_corpus
from saelab.evals.labels import NotPython, anchors, mark
from saelab.evals.scoring import Entries
from saelab.harvest.forward import padded_batches
from saelab.intervene import sites
from saelab.lm import LanguageModel
from saelab.sae import SAE
from saelab.store import Store


@dataclass(frozen=True)
class Labelled:
    """One document: the contexts that are run, and the labels of each of its tokens."""

    name: str
    contexts: list[Context]
    labels: Bool[np.ndarray, "labels tokens"]


@dataclass(frozen=True, eq=False)
class Half:
    """The counted tokens of some documents: their labels, the SAE's features, and the raw activations."""

    labels: Bool[np.ndarray, "labels tokens"]
    features: Entries
    x: Float[np.ndarray, "tokens d_in"]


@dataclass
class _Rows:
    """The columns of a Half, batch by batch."""

    labels: list[np.ndarray] = field(default_factory=list)
    unit: list[np.ndarray] = field(default_factory=list)
    token: list[np.ndarray] = field(default_factory=list)
    value: list[np.ndarray] = field(default_factory=list)
    x: list[np.ndarray] = field(default_factory=list)
    n: int = 0


def labelled_documents(
    lm: LanguageModel, store: Store, tokens: int, per_document: int, progress: Progress
) -> list[Labelled]:
    """Held-out documents of about `tokens` tokens, at most about `per_document` of each.

    Raises EvalError when most are no Python, or fewer than two are left.
    """
    cfg, corpus = heldout_corpus(store, progress)
    length = cfg.context or lm.context
    found: list[Labelled] = []
    read = total = 0
    progress.start("labels of held-out documents", tokens, "tokens")
    for document in split_documents(corpus, "heldout"):
        read += 1
        one = _labelled(lm, document, length, per_document)
        if one is not None:
            count = sum(len(context.ids) for context in one.contexts)
            found.append(one)
            total += count
            progress.advance(count)
        if total >= tokens or (read >= 8 and len(found) < 2):  # the latter is no Python: not worth reading on
            break
    if 2 * len(found) < read or len(found) < 2:
        raise EvalError(
            f"syntax labels are read off Python source, of two held-out documents at least; of the {read} read from "
            f"the {cfg.corpus.kind} corpus of {store.path}, {len(found)} are Python.\n"
            "  fix:   run this evaluation on a store of Python source, or leave it out (--only fidelity)"
        )
    return found


def _labelled(lm: LanguageModel, document: Document, length: int, per_document: int) -> Labelled | None:
    """The document with its labels; contexts evenly spread over it, as its head is all imports and docstrings."""
    try:
        marks = mark(document.text)
    except NotPython:
        return None
    ids, spans = lm.encode_with_offsets(document.text)
    cut = list(contexts([document], lambda _: ids, length, lm.bos, "separate"))
    wanted = min(len(cut), max(1, per_document // length))
    chosen = [cut[i * len(cut) // wanted] for i in range(wanted)]
    return Labelled(document.name, chosen, marks.at(anchors(document.text, spans))) if chosen else None


def halves(documents: list[Labelled]) -> tuple[list[Labelled], list[Labelled]]:
    """As many in one half as in the other."""
    second = in_halves([document.name for document in documents])
    a, b = ([one for one, late in zip(documents, second, strict=True) if late == half] for half in (False, True))
    return a, b


def encoded(sae: SAE, lm: LanguageModel, documents: list[Labelled], batch: int, progress: Progress) -> Half:
    """Run the documents through the model and the SAE."""
    rows = _Rows()
    for owners, ids, counted in _batches(lm, documents, batch):
        _add(rows, sae, lm, torch.as_tensor(ids), torch.as_tensor(counted))
        rows.labels.append(owners)
        progress.advance(int(counted.sum()))
    features = Entries.sorted(*(np.concatenate(column) for column in (rows.unit, rows.token, rows.value)))
    return Half(np.concatenate(rows.labels, axis=1), features, np.concatenate(rows.x))


def _batches(
    lm: LanguageModel, documents: list[Labelled], batch: int
) -> Iterator[tuple[np.ndarray, Int[np.ndarray, "batch tokens"], Bool[np.ndarray, "batch tokens"]]]:
    """(labels of the tokens that count [labels, rows], ids, which tokens count)."""
    owner = [document for document in documents for _ in document.contexts]
    cut = [context for document in documents for context in document.contexts]
    special = np.array(sorted(lm.special))
    for chosen, ids in padded_batches(cut, batch, lm.bos or 0):
        pos = np.full(ids.shape, -1)
        for row, number in enumerate(chosen.tolist()):
            pos[row, : len(cut[number].pos)] = cut[number].pos
        counted = (pos >= 0) & ~np.isin(ids.numpy(), special)
        labels = [owner[n].labels[:, pos[row][counted[row]]] for row, n in enumerate(chosen.tolist())]
        yield np.concatenate(labels, axis=1), ids.numpy(), counted


@torch.inference_mode()
def _add(rows: _Rows, sae: SAE, lm: LanguageModel, ids: torch.Tensor, counted: torch.Tensor) -> None:
    read, _ = sites(sae)
    x = lm.activations(ids.to(lm.device), [read])[read][counted.to(lm.device)].to(sae.W_enc)  # [rows, d_in]
    codes = sae.encode_sparse(x)
    fires = codes.mask & (codes.val > 0)
    token = torch.arange(rows.n, rows.n + len(x), device=x.device).unsqueeze(1).expand_as(fires)
    rows.unit.append(codes.idx[fires].long().cpu().numpy())
    rows.token.append(token[fires].cpu().numpy())
    rows.value.append(codes.val[fires].float().cpu().numpy())
    rows.x.append(x.float().cpu().numpy())
    rows.n += len(x)
