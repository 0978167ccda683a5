"""The store's tokens as rules see them: each with the token before it, its place, and the half its document is in."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from saelab.corpora.document import in_halves
from saelab.errors import EvalError
from saelab.features import Index
from saelab.signs import quoted
from saelab.store import Store


@dataclass(frozen=True, eq=False)
class Text:
    """The first rows of a split, in order. `before` is the token before it in its context, -1 for none.

    `other` is True in half B, on which rules are measured. `strings` shows each token id; without them (an index made
    without a language model) a token is named by its number.
    """

    token: Int[np.ndarray, "rows"]
    before: Int[np.ndarray, "rows"]
    doc: Int[np.ndarray, "rows"]
    pos: Int[np.ndarray, "rows"]
    first: Bool[np.ndarray, "rows"]  # of its context
    other: Bool[np.ndarray, "rows"]
    strings: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.token)

    def shown(self, token: int) -> str:
        """A token in quotation marks, its spaces and line breaks as signs."""
        return quoted(self.strings[token]) if self.strings else f"token {token}"


def read_text(store: Store, index: Index, most: int) -> Text:
    """The rows the index was made from, at most `most` of them. Raises EvalError for fewer than two documents."""
    split = str(index.facts["settings"]["split"])
    table = store.tokens(split).slice(0, most)
    token, doc, pos, ctx = (table[name].to_numpy().astype(np.int64) for name in ("token", "doc", "pos", "ctx"))
    known = np.unique(doc)
    if len(known) < 2:
        raise EvalError(
            f"rules are chosen on some documents and measured on others, but the first {len(table):,} rows of "
            f"{store.path} hold {len(known)}.\n  fix:   harvest a corpus of more documents, or read more tokens"
        )
    first = np.append(True, ctx[1:] != ctx[:-1])
    follows = ~first & np.append(False, (doc[1:] == doc[:-1]) & (pos[1:] == pos[:-1] + 1))
    before = np.where(follows, np.append(-1, token[:-1]), -1)
    names = store.documents(split)
    half = halved({int(number): names[int(number)] for number in known})
    other = np.isin(doc, [number for number, is_other in half.items() if is_other])
    return Text(token, before, doc, pos, first, other, index.token_strings)


def halved(names: dict[int, str]) -> dict[int, bool]:
    """Whether each document is in half B, whatever their order."""
    return dict(zip(names, in_halves(list(names.values())), strict=True))
