"""What Python calls each token of the store, read off the documents' own source."""

import numpy as np

from saelab.config import settings
from saelab.contracts import Progress
from saelab.corpora import open_corpus, split_documents
from saelab.evals.labels import LABELS, NotPython, anchors, mark
from saelab.explain.families import Family, Marks
from saelab.explain.text import Text
from saelab.harvest.config import HarvestConfig
from saelab.lm import LanguageModel
from saelab.store import Store


def syntax_family(lm: LanguageModel, store: Store, split: str, text: Text, progress: Progress) -> Family | None:
    """Rules of syntax; None, with a note, when fewer than half of the documents can be read as the Python they were."""
    names, last = store.documents(split), int(text.doc.max())
    corpus = open_corpus(settings(HarvestConfig, store.config, where=f"{store.path}/store.json").corpus)
    progress.start("syntax of the documents", last + 1, "documents")
    found: list[list[np.ndarray]] = [[] for _ in LABELS]
    read = 0
    for number, document in enumerate(split_documents(corpus, split)):
        if number > last or document.name != names.get(number):
            break
        labels = _labels(lm, document.text, text, number)
        read += labels is not None
        for rows, each in zip(labels or [], found, strict=False):
            each.append(rows)
        progress.advance(1)
    if 2 * read < last + 1:
        progress.note(
            f"{read} of {last + 1} documents are Python and still what {store.path} was harvested from: "
            "no rules of syntax are tried"
        )
        return None
    carrying = [np.concatenate([np.zeros(0, np.int64), *each]) for each in found]
    return Marks.of("syntax", tuple(LABELS), carrying, text.other)


def _labels(lm: LanguageModel, source: str, text: Text, number: int) -> list[np.ndarray] | None:
    """The rows of document `number` that have each label; None when it is no Python or not what was harvested."""
    rows = np.flatnonzero(text.doc == number)
    ids, spans = lm.encode_with_offsets(source)
    pos = text.pos[rows]
    if len(pos) and (pos.max() >= len(ids) or not np.array_equal(np.array(ids)[pos], text.token[rows])):
        return None
    try:
        marks = mark(source)
    except NotPython:
        return None
    return [rows[here] for here in marks.at(anchors(source, spans)[pos])]
