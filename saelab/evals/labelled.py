"""Held-out Python documents as a model's tokens, each with its labels, in two halves."""

from collections.abc import Iterator
from dataclasses import dataclass

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

ROWS_AT_ONCE = 4096  # encoded at once


@dataclass(frozen=True)
class Labelled:
    """One document: the contexts that are run, and the labels of each of its tokens."""

    name: str
    contexts: list[Context]
    labels: Bool[np.ndarray, "labels tokens"]


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """The counted tokens of some documents: their labels, and the activations at a site."""

    labels: Bool[np.ndarray, "labels tokens"]
    x: Float[np.ndarray, "tokens d_in"]


@dataclass(frozen=True, eq=False)
class Half(LabelledRows):
    """The same with an SAE's features."""

    features: Entries


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


def labelled_rows(
    lm: LanguageModel, site: str, documents: list[Labelled], batch: int, progress: Progress
) -> LabelledRows:
    """Run the documents through the model, up to the site."""
    labels, x = [], []
    for owners, ids, counted in _batches(lm, documents, batch):
        acts = lm.activations(torch.as_tensor(ids).to(lm.device), [site])[site]
        labels.append(owners)
        x.append(acts[torch.as_tensor(counted).to(lm.device)].float().cpu().numpy())
        progress.advance(int(counted.sum()))
    return LabelledRows(np.concatenate(labels, axis=1), np.concatenate(x))


@torch.inference_mode()
def with_features(rows: LabelledRows, sae: SAE) -> Half:
    """The rows with what the SAE makes of them."""
    found = []
    for first in range(0, len(rows.x), ROWS_AT_ONCE):
        x = torch.as_tensor(rows.x[first : first + ROWS_AT_ONCE]).to(sae.W_enc)
        codes = sae.encode_sparse(x)
        fires = codes.mask & (codes.val > 0)
        token = torch.arange(first, first + len(x), device=x.device).unsqueeze(1).expand_as(fires)
        found.append([part[fires].cpu().numpy() for part in (codes.idx.long(), token, codes.val.float())])
    return Half(rows.labels, rows.x, Entries.sorted(*(np.concatenate(column) for column in zip(*found, strict=True))))


def encoded(sae: SAE, lm: LanguageModel, documents: list[Labelled], batch: int, progress: Progress) -> Half:
    """Run the documents through the model and the SAE."""
    return with_features(labelled_rows(lm, sites(sae)[0], documents, batch, progress), sae)


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
