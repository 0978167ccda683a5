"""Kinds of rules. A rule says yes on the tokens that have one of its keys; each kind gives every token its keys.

    token    the token itself                   `on "def"`
    after    the token before it                `after "self"`
    pair     the token before it, and itself    `on "." after "self"`
    triple   two tokens before it, and itself   `on "append" after "self" "."`
    place    where it stands in text and line   `first token of a line`
    syntax   what Python calls it               `comment`

Rules of the first two kinds may name several tokens; a token has one key of them, so that counts add up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from saelab.explain.text import Text

RAREST = 5  # pairs and triples on fewer tokens of half A are chance, and no candidates


@runtime_checkable
class Family(Protocol):
    """One kind of rules. `totals[half, key]` counts the tokens with a key; `most` keys make one rule."""

    @property
    def kind(self) -> str: ...
    @property
    def most(self) -> int: ...
    @property
    def names(self) -> int:
        """Tokens that one key names."""

    @property
    def totals(self) -> Float[np.ndarray, "2 keys"]: ...

    def table(self, rows: np.ndarray, bins: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """(keys that occur among `rows`, how many of these rows have each key, by bin [keys, n])."""

    def words(self, keys: Sequence[int]) -> str:
        """The rule of these keys."""


@dataclass(frozen=True, eq=False)
class Partition:
    """Kinds of which a token has one key, or none (-1)."""

    kind: str
    key: Int[np.ndarray, "rows"]
    totals: Float[np.ndarray, "2 keys"]
    most: int
    names: int
    say: Callable[[Sequence[int]], str]

    @classmethod
    def of(
        cls, kind: str, key: np.ndarray, other: np.ndarray, most: int, names: int, say: Callable[[Sequence[int]], str]
    ) -> "Partition":
        """Counts the tokens of each key in both halves."""
        size = int(key.max(initial=0)) + 1
        halves = [np.bincount(key[(key >= 0) & half], minlength=size) for half in (~other, other)]
        return cls(kind, key, np.stack(halves).astype(np.float64), most, names, say)

    def table(self, rows: np.ndarray, bins: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        key = self.key[rows]
        has = key >= 0
        return _table(key[has], bins[has], n)

    def words(self, keys: Sequence[int]) -> str:
        return self.say(keys)


@dataclass(frozen=True, eq=False)
class Marks:
    """Kinds of which a token may have many keys: `has[row, key]`."""

    kind: str
    has: sparse.csr_matrix
    totals: Float[np.ndarray, "2 keys"]
    labels: tuple[str, ...]
    most: int = 1
    names: int = 1

    @classmethod
    def of(cls, kind: str, labels: Sequence[str], rows: Sequence[np.ndarray], other: np.ndarray) -> "Marks":
        """From the rows that have each label."""
        key = np.repeat(np.arange(len(labels)), [len(each) for each in rows])
        place = np.concatenate([np.zeros(0, np.int64), *rows])
        has = sparse.csr_matrix((np.ones(len(place), np.float32), (place, key)), shape=(len(other), len(labels)))
        halves = [np.array([np.count_nonzero(half[each]) for each in rows]) for half in (~other, other)]
        return cls(kind, has, np.stack(halves).astype(np.float64), tuple(labels))

    def table(self, rows: np.ndarray, bins: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        found = self.has[rows]
        return _table(found.indices.astype(np.int64), np.repeat(bins, np.diff(found.indptr)), n)

    def words(self, keys: Sequence[int]) -> str:
        return " or ".join(self.labels[key] for key in keys)


def _table(key: np.ndarray, bins: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    known, place = np.unique(key, return_inverse=True)
    return known, np.bincount(place * n + bins, minlength=len(known) * n).reshape(len(known), n).astype(np.float64)


def token_families(text: Text, most: int) -> list[Family]:
    """Rules that name tokens: one or up to `most` of them, before or at the place, and sequences of two and three."""
    pair, pairs = _joined(text.before, text.token, text.before >= 0, text.other)
    earlier = np.append(-1, text.before[:-1])
    triple, triples = _joined(earlier, pair, (pair >= 0) & (text.before >= 0) & (earlier >= 0), text.other)

    def said(tokens: Sequence[int]) -> str:
        return ", ".join(map(text.shown, tokens))

    def of_pair(keys: Sequence[int]) -> str:
        before, token = pairs[keys[0]]
        return f"on {text.shown(token)} after {text.shown(before)}"

    def of_triple(keys: Sequence[int]) -> str:
        first, rest = triples[keys[0]]
        before, token = pairs[rest]
        return f"on {text.shown(token)} after {text.shown(first)} {text.shown(before)}"

    return [
        Partition.of("token", text.token, text.other, most, 1, lambda keys: f"on {said(keys)}"),
        Partition.of("after", text.before, text.other, most, 1, lambda keys: f"after {said(keys)}"),
        Partition.of("pair", pair, text.other, 1, 2, of_pair),
        Partition.of("triple", triple, text.other, 1, 3, of_triple),
    ]


def _joined(
    left: np.ndarray, right: np.ndarray, has: Bool[np.ndarray, "rows"], other: np.ndarray
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """A key for each (left, right) that is not rare in half A, -1 elsewhere; and the pair of each key."""
    base = int(right.max(initial=0)) + 1
    joined = np.where(has, left * base + right, -1)
    known, place = np.unique(joined, return_inverse=True)
    often = (np.bincount(place[~other], minlength=len(known)) >= RAREST) & (known >= 0)
    number = np.where(often, np.cumsum(often) - 1, -1)
    return number[place], [divmod(int(code), base) for code in known[often]]


def place_family(text: Text) -> Family:
    """Rules of where a token stands: in its text, in its context, in its line (as far as token strings tell)."""
    start = np.flatnonzero(text.first)
    since = np.arange(len(text)) - start[np.searchsorted(start, np.arange(len(text)), side="right") - 1]
    places = {
        "first token of a text": text.pos == 0,
        "first token of a context": text.first,
        "one of the first 4 tokens of a context": since < 4,
        "one of the first 16 tokens of a context": since < 16,
        **(_lines(text) if text.strings else {}),
    }
    return Marks.of("place", list(places), [np.flatnonzero(here) for here in places.values()], text.other)


def _lines(text: Text) -> dict[str, Bool[np.ndarray, "rows"]]:
    """Line breaks, indentation and first tokens of lines."""
    blank_of = np.array([not string.strip() for string in text.strings])
    breaks_of = np.array(["\n" in string for string in text.strings])
    open_of = np.array([not string.rsplit("\n", 1)[-1].strip() for string in text.strings])  # nothing after the break
    blank, breaks = blank_of[text.token], breaks_of[text.token]
    decides = ~blank | breaks | text.first  # other tokens leave a line as empty as it was
    fresh = np.where(breaks, open_of[text.token], blank & (text.pos == 0))
    last = np.maximum.accumulate(np.where(decides, np.arange(len(text)), 0))
    empty = np.append(True, fresh[last][:-1]) & ~text.first | (text.pos == 0)  # the line, before this token
    return {
        "a line break": breaks,
        "indentation": empty & blank & ~breaks,
        "first token of a line": empty & ~blank,
    }
