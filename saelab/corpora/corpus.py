"""What every corpus offers, and which of its documents a split takes."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from saelab.config import Settings
from saelab.corpora.document import Document
from saelab.errors import ConfigError

SPLITS = ("train", "heldout", "all")


@runtime_checkable
class Corpus(Protocol):
    """Texts in an order that is the same every time."""

    licence: str

    @property
    def cfg(self) -> Settings:
        """The settings it was opened with."""

    def documents(self) -> Iterator[Document]:
        """Every document, once, in the same order each time; raises CorpusError where the text is unusable."""

    def fingerprint(self) -> str:
        """Names this text, so that what was made from other text is not taken for it."""


def split_documents(corpus: Corpus, split: str) -> Iterator[Document]:
    """The documents of `split`: "train", "heldout" (a share that `Document.heldout` chooses) or "all"."""
    if split not in SPLITS:
        raise ConfigError(f"{split!r} is not a split. Splits are: {', '.join(SPLITS)}.")
    return (d for d in corpus.documents() if split == "all" or d.heldout == (split == "heldout"))
