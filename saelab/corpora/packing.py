"""Cut documents into contexts of a fixed length, each token knowing the document and the place it comes from.

    separate   a context never crosses documents:   [BOS a a a] [BOS a a] [BOS b b b] ...
    concat     documents follow each other:         [BOS a a a] [BOS a a BOS] [BOS b b b] ...
    truncated  a document is one context, cut off:  [BOS a a a] [BOS b b b] ...

A model that was trained with a beginning-of-sequence token (BOS) expects one at position 0: with `bos` given,
every context starts with it, and "concat" puts one between documents as well. The BOS belongs to no document:
its `doc` and `pos` are -1, by which everything downstream leaves it out.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from saelab.corpora.document import Document
from saelab.errors import ConfigError

NOWHERE = -1  # doc and pos of a BOS


@dataclass(frozen=True)
class Context:
    """Token ids to run at once; `doc` numbers the documents as they were given, `pos` the tokens of each."""

    ids: list[int] = field(default_factory=list)
    doc: list[int] = field(default_factory=list)
    pos: list[int] = field(default_factory=list)

    def extend(self, ids: list[int], doc: int, start: int) -> None:
        """Append tokens of document `doc`, the first of which is its token `start`."""
        self.ids.extend(ids)
        self.doc.extend([doc] * len(ids))
        self.pos.extend(range(start, start + len(ids)))

    def mark(self, bos: int | None) -> None:
        """Append the BOS, if there is one."""
        if bos is not None:
            self.ids.append(bos)
            self.doc.append(NOWHERE)
            self.pos.append(NOWHERE)


def contexts(
    documents: Iterable[Document],
    encode: Callable[[str], list[int]],
    length: int,
    bos: int | None,
    packing: str,
) -> Iterator[Context]:
    """Contexts of `length` tokens, BOS included; the last of a document ("separate") or of all may be shorter.

    One of fewer than two tokens is left out: there is nothing to predict in it.
    """
    if packing not in PACKINGS:
        raise ConfigError(f"{packing!r} is not a packing. Packings are: {', '.join(PACKINGS)}.")
    if length < 2:
        raise ConfigError(f"A context of {length} token(s) has nothing to predict. The least is 2.")
    encoded = ((number, encode(document.text)) for number, document in enumerate(documents))
    return (context for context in PACKINGS[packing](encoded, length, bos) if len(context.ids) > 1)


def _separate(encoded: Iterable[tuple[int, list[int]]], length: int, bos: int | None) -> Iterator[Context]:
    room = length if bos is None else length - 1
    for doc, tokens in encoded:
        for start in range(0, len(tokens), room):
            context = Context()
            context.mark(bos)
            context.extend(tokens[start : start + room], doc, start)
            yield context


def _concat(encoded: Iterable[tuple[int, list[int]]], length: int, bos: int | None) -> Iterator[Context]:
    context = Context()
    context.mark(bos)
    for doc, tokens in encoded:
        if tokens and any(number != NOWHERE for number in context.doc):
            context.mark(bos)
        start = 0
        while start < len(tokens):
            part = tokens[start : start + length - len(context.ids)]
            context.extend(part, doc, start)
            start += len(part)
            if len(context.ids) == length:
                yield context
                context = Context()
                context.mark(bos)
    if any(number != NOWHERE for number in context.doc):
        yield context


def _truncated(encoded: Iterable[tuple[int, list[int]]], length: int, bos: int | None) -> Iterator[Context]:
    for doc, tokens in encoded:
        yield from islice(_separate([(doc, tokens)], length, bos), 1)


PACKINGS: dict[str, Callable[[Iterable[tuple[int, list[int]]], int, int | None], Iterator[Context]]] = {
    "separate": _separate,
    "concat": _concat,
    "truncated": _truncated,
}
