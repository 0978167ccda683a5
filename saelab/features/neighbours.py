"""Features beside a feature: those that write in a similar direction, and those that fire on the same tokens."""

import duckdb

from saelab.features.records import Coactive, Label, Neighbour


def neighbours(cursor: duckdb.DuckDBPyConnection, labels: dict[int, Label], feature: int) -> tuple[Neighbour, ...]:
    """By cosine of decoder rows, nearest first."""
    row = cursor.execute("select other, cosine from neighbours where feature = ?", [feature]).fetchone()
    return tuple(Neighbour(other, cosine, labels.get(other)) for other, cosine in zip(*(row or ((), ())), strict=True))


def coactive(cursor: duckdb.DuckDBPyConnection, labels: dict[int, Label], feature: int) -> tuple[Coactive, ...]:
    """By Jaccard index on a sample of the tokens, highest first."""
    row = cursor.execute("select other, jaccard, count from coactive where feature = ?", [feature]).fetchone()
    found = zip(*(row or ((), (), ())), strict=True)
    return tuple(Coactive(other, jaccard, count, labels.get(other)) for other, jaccard, count in found)
