"""Where a feature fires: its strongest contexts, and a sample from every strength."""

from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise
from typing import Any

from saelab.features.records import Example
from saelab.features.vocabulary import Vocabulary


def examples(
    held: Mapping[str, Any], vocabulary: Vocabulary, top: int, quantiles: int
) -> tuple[tuple[Example, ...], tuple[tuple[Example, ...], ...]]:
    """The `top` strongest contexts, and those sampled from each of the quantiles, the weakest group first.

    `held` is an unpacked card (`packed`), in which examples stand by rank.
    """
    strongest: list[Example] = []
    groups: list[list[Example]] = [[] for _ in range(quantiles)]
    for example, sampled in _each(held, vocabulary, top):
        if example.rank < top:
            strongest.append(example)
        if sampled:
            groups[example.quantile].append(example)
    return tuple(strongest), tuple(map(tuple, groups))


def _each(held: Mapping[str, Any], vocabulary: Vocabulary, top: int) -> Iterator[tuple[Example, int]]:
    """Each example that is asked for, and whether it is one of the sample."""
    names = bytes(held["names"]).decode().split("\0")
    shown, firing = (pairwise(accumulate(held[name], initial=0)) for name in ("shown", "firing"))
    plain = (held[name] for name in ("rank", "quantile", "sampled", "row", "doc", "pos", "peak"))
    for name, (start, stop), (first, last), values in zip(names, shown, firing, zip(*plain, strict=True), strict=False):
        rank, quantile, sampled, row, doc, pos, peak = values
        if rank < top or sampled:
            ids = held["tokens"][start:stop]
            activations = [0.0] * len(ids)
            for at in range(first, last):
                activations[held["fired"][at]] = held["acts"][at]
            example = Example(name, doc, pos, row, rank, quantile, tuple(ids), vocabulary.strings(ids),
                              tuple(activations), peak)  # fmt: skip
            yield example, sampled
