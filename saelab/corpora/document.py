"""One text with a name, and the rule that says which documents are held out."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os.path import commonprefix
from typing import Any

from saelab.errors import CorpusError

HELDOUT_SHARE = 0.05
HELDOUT_BY = "text"  # part of what names a corpus: under another rule its held-out documents were trained on


@dataclass(frozen=True)
class Document:
    """A text that is never mixed with another. `name` is unique within its corpus.

    A conversation also has `turns`, (role, content) one by one; its text is the contents, blank lines between them.
    `key` decides whether it is held out. Without one the text does: copies of a text then fall on the same side, and
    a corpus that is moved or given in another order is split as before.
    """

    name: str
    text: str
    turns: tuple[tuple[str, str], ...] = ()
    key: str = ""

    @classmethod
    def of(cls, name: str, value: Any, column: str, where: str) -> "Document":
        """What a column holds: text, or a conversation, a list of {role, content}. Raises CorpusError for the rest."""
        if isinstance(value, str):
            return cls(name, value)
        if isinstance(value, list) and value and all(_is_turn(turn) for turn in value):
            turns = tuple((turn["role"], turn["content"]) for turn in value)
            return cls(name, "\n\n".join(content for _, content in turns), turns)
        raise CorpusError(
            f"{where}: column {column!r} holds {type(value).__name__}, but text is a string, and a conversation a list "
            "of {role, content}.\n  fix: set corpus.column"
        )

    @property
    def heldout(self) -> bool:
        """Whether this document is kept from all training."""
        return hash64(self.key or self.text) < HELDOUT_SHARE * 2**64


def hash64(text: str) -> int:
    """A 64-bit hash that is the same on every machine and in every run."""
    return int.from_bytes(hashlib.sha256(text.encode(errors="surrogatepass")).digest()[:8], "big")


def in_halves(names: Sequence[str]) -> list[bool]:
    """Of documents with different names, whether each is in the second half: every other one by the names' hashes.

    Of files, names are paths: the folder that all have in common is left out, so that where they lie changes nothing.
    """
    folder = commonprefix(names).rpartition("/")[0]  # noqa: RUF071 - letters, cut off at a folder
    ordered = sorted(range(len(names)), key=lambda i: hash64(names[i].removeprefix(folder)))
    second = set(ordered[1::2])
    return [i in second for i in range(len(names))]


def _is_turn(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(value.get(key), str) for key in ("role", "content"))
