"""All that is known of one feature."""

import duckdb

from saelab.features.examples import examples
from saelab.features.histogram import histogram
from saelab.features.logits import effects
from saelab.features.neighbours import coactive, neighbours
from saelab.features.records import FeatureCard, Label
from saelab.features.stats import stats
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
    strongest, sampled = examples(cursor, vocabulary, feature, top, quantiles)
    return FeatureCard(
        stats=stats(cursor, feature),
        label=labels.get(feature),
        histogram=histogram(cursor, feature),
        top=strongest,
        quantiles=sampled,
        effects=effects(cursor, vocabulary, feature),
        neighbours=neighbours(cursor, labels, feature),
        coactive=coactive(cursor, labels, feature),
    )
