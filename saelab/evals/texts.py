"""The text sets that come with saelab: short labelled texts, written for it, in data/probing.

A row is the mean over a text's counted tokens, of the raw activations and of the features. Every other text of a label
is in half A.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import sparse

import saelab
from saelab.contracts import Progress
from saelab.errors import EvalError
from saelab.evals.sample import Sample
from saelab.evals.subject import Subject
from saelab.intervene import sites

FOLDER = "probing"


@dataclass(frozen=True)
class TextSet:
    """Texts, each of one class."""

    name: str
    texts: tuple[str, ...]
    classes: tuple[str, ...]


def text_sets() -> list[TextSet]:
    """Every set, by name. Raises EvalError when the files are missing."""
    folders = [Path(place) / "data" / FOLDER for place in saelab.__path__]
    files = sorted(file for folder in folders for file in folder.glob("*.jsonl"))
    if not files:
        raise EvalError(
            f"the text sets are missing from {' and '.join(map(str, folders))}.\n  fix:   install saelab again"
        )
    found = []
    for file in {file.name: file for file in files}.values():
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        found.append(TextSet(file.stem, tuple(one["text"] for one in lines), tuple(one["label"] for one in lines)))
    return found


def text_samples(subject: Subject, progress: Progress) -> Iterator[tuple[Sample, Sample]]:
    """The two halves of each set."""
    found = text_sets()
    progress.start("features of the text sets", sum(len(one.texts) for one in found), "texts")
    for one in found:
        names = sorted(set(one.classes))
        labels = np.array([[label == name for label in one.classes] for name in names])
        second = np.zeros(len(one.texts), dtype=bool)
        for row in labels:
            second[np.flatnonzero(row)[1::2]] = True
        x, f = _pooled(subject, one.texts, progress)
        whole = Sample(tuple(f"{one.name}: {name}" for name in names), labels, x, f)
        yield whole.take(np.flatnonzero(~second)), whole.take(np.flatnonzero(second))


@torch.inference_mode()
def _pooled(subject: Subject, texts: tuple[str, ...], progress: Progress) -> tuple[np.ndarray, sparse.csr_matrix]:
    """Means over each text's tokens, BOS left out."""
    sae, lm = subject.sae, subject.lm
    read, _ = sites(sae)
    rows, features = [], []
    for text in texts:
        ids = lm.prompt(text)[: lm.context].unsqueeze(0)
        x = lm.activations(ids, [read])[read][0, 0 if lm.bos is None else 1 :].to(sae.W_enc)  # [tokens, d_in]
        rows.append(x.float().mean(dim=0).cpu().numpy())
        features.append(sparse.csr_matrix(sae.encode_sparse(x).dense().clamp_min(0).float().mean(dim=0).cpu().numpy()))
        progress.advance(1)
    return np.stack(rows), sparse.vstack(features).tocsr()
