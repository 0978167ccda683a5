"""One text with a name, and the rule that says which documents are held out."""

import hashlib
from dataclasses import dataclass

HELDOUT_SHARE = 0.05


@dataclass(frozen=True)
class Document:
    """A text that is never mixed with another. `name` is unique within its corpus."""

    name: str
    text: str

    @property
    def heldout(self) -> bool:
        """Whether this document is kept from all training. A function of the name alone."""
        return name_hash(self.name) < HELDOUT_SHARE * 2**64


def name_hash(name: str) -> int:
    """A 64-bit hash of a document's name that is the same on every machine and in every run."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
