"""Features beside a feature: those that write in a similar direction, and those that fire on the same tokens."""

from collections.abc import Sequence

from saelab.features.records import Coactive, Label, Neighbour


def neighbours(labels: dict[int, Label], other: Sequence[int], cosine: Sequence[float]) -> tuple[Neighbour, ...]:
    """By cosine of decoder rows, nearest first."""
    return tuple(Neighbour(feature, near, labels.get(feature)) for feature, near in zip(other, cosine, strict=True))


def coactive(
    labels: dict[int, Label], other: Sequence[int], jaccard: Sequence[float], count: Sequence[int]
) -> tuple[Coactive, ...]:
    """By Jaccard index on a sample of the tokens, highest first."""
    found = zip(other, jaccard, count, strict=True)
    return tuple(Coactive(feature, share, both, labels.get(feature)) for feature, share, both in found)
