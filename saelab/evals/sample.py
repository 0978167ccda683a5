"""Rows with labels, as probes see them: dense activations, the SAE's sparse code, and what each row is."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from saelab.contracts import Progress
from saelab.errors import EvalSkipped
from saelab.evals.heldout import require_same_model
from saelab.evals.labelled import Half, encoded, halves, labelled_documents
from saelab.evals.labels import LABELS
from saelab.evals.subject import Subject
from saelab.intervene import sites

BATCH = 16  # contexts of a forward pass


@dataclass(frozen=True, eq=False)
class Sample:
    """`f` is a scipy CSR matrix [rows, d_sae] of activations above zero."""

    names: tuple[str, ...]
    labels: Bool[np.ndarray, "labels rows"]
    x: Float[np.ndarray, "rows d_in"]
    f: Any

    @classmethod
    def of(cls, half: Half, d_sae: int, names: tuple[str, ...]) -> "Sample":
        entries, shape = half.features, (len(half.x), d_sae)
        return cls(names, half.labels, half.x, sparse.csr_matrix((entries.value, (entries.token, entries.unit)), shape))

    def label(self, name: str) -> Bool[np.ndarray, "rows"]:
        """Which rows carry the label."""
        return self.labels[self.names.index(name)]

    def take(self, rows: Int[np.ndarray, "some"]) -> "Sample":
        """Some of the rows."""
        return Sample(self.names, self.labels[:, rows], self.x[rows], self.f[rows])


def syntax_samples(subject: Subject, tokens: int, per_document: int, progress: Progress) -> tuple[Sample, Sample]:
    """(to fit on, to measure on): tokens of different held-out Python documents. Read once for all evaluations."""
    key = ("syntax", tokens, per_document)
    if key not in subject.kept:
        require_same_model(subject.sae, subject.lm, subject.store)
        documents = labelled_documents(subject.lm, subject.store, tokens, per_document, progress)
        total = sum(len(context.ids) for document in documents for context in document.contexts)
        progress.start("features of labelled tokens", total, "tokens")
        both = [encoded(subject.sae, subject.lm, half, BATCH, progress) for half in halves(documents)]
        subject.kept[key] = tuple(Sample.of(half, subject.sae.cfg.d_sae, tuple(LABELS)) for half in both)
    return subject.kept[key]  # type: ignore[return-value]


def require_autoencoder(subject: Subject, what: str) -> None:
    """Raise EvalSkipped unless what the SAE writes is what it reads."""
    subject.sae.require_rows(what)
    read, write = sites(subject.sae)
    if read != write:
        raise EvalSkipped(f"needs an autoencoder: this transcoder reads {read} and writes {write}")


def difference(f: Any, y: Bool[np.ndarray, "rows"]) -> Float[np.ndarray, "columns"]:
    """Mean of each column over the rows of y less its mean over the others; f dense or CSR."""
    yes, no = (np.asarray(f[rows].mean(axis=0)).ravel() for rows in (y, ~y))
    return yes - no


def ablated(
    sample: Sample, features: Int[np.ndarray, "n"], W_dec: Float[np.ndarray, "d_sae d"]
) -> Float[np.ndarray, "rows d"]:
    """x less what these features write."""
    return sample.x - sample.f[:, features].toarray() @ W_dec[features]


def strongest(effects: Float[np.ndarray, "d_sae"], n: int) -> Int[np.ndarray, "some"]:
    """The n features of the largest effect above zero, or as many as there are."""
    order = np.argsort(-effects, kind="stable")[:n]
    return order[effects[order] > 0]
