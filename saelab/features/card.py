"""All that is known of one feature, read as two values."""

import math

import duckdb

from saelab.features.examples import examples
from saelab.features.histogram import histogram
from saelab.features.logits import effects
from saelab.features.neighbours import coactive, neighbours
from saelab.features.packed import CARD, WINDOWS, unpack
from saelab.features.records import FeatureCard, Label
from saelab.features.stats import of_row
from saelab.features.vocabulary import Vocabulary


def card(
    cursor: duckdb.DuckDBPyConnection,
    vocabulary: Vocabulary,
    labels: dict[int, Label],
    feature: int,
    *,
    top: int,
    quantiles: int,
) -> FeatureCard:
    """The card of a feature, which must exist, with up to `top` of its strongest contexts."""
    row = cursor.execute("select card, windows from app.cards where feature = ?", [feature]).fetchone()
    assert row is not None, feature
    held = {**unpack(row[0], CARD), **unpack(row[1], WINDOWS)}
    strongest, sampled = examples(held, vocabulary, top, quantiles)
    return FeatureCard(
        stats=of_row([None if math.isnan(value) else value for value in held["stats"]]),
        label=labels.get(feature),
        histogram=histogram(held["first_bin"][0], held["counts"]),
        top=strongest,
        quantiles=sampled,
        effects=effects(vocabulary, held["promoted"], held["promoted_by"], held["suppressed"], held["suppressed_by"]),
        neighbours=neighbours(labels, held["near"], held["near_cosine"]),
        coactive=coactive(labels, held["together"], held["together_jaccard"], held["together_count"]),
    )
