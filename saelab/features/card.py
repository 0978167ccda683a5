"""All that is known of one feature."""

import duckdb

from saelab.features.examples import examples
from saelab.features.histogram import histogram
from saelab.features.logits import effects
from saelab.features.neighbours import coactive, neighbours
from saelab.features.records import FeatureCard, Label
from saelab.features.stats import of_row
from saelab.features.vocabulary import Vocabulary

_LISTS = (
    "first_bin", "counts", "promoted", "promoted_by", "suppressed", "suppressed_by",
    "near", "near_cosine", "together", "together_jaccard", "together_count", "stats",
)  # fmt: skip


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
    row = cursor.execute(f"select {', '.join(_LISTS)} from pages where feature = ?", [feature]).fetchone()
    assert row is not None, feature
    first, counts, up, up_by, down, down_by, near, near_by, both, both_by, both_count, figures = row
    return FeatureCard(
        stats=of_row(figures),
        label=labels.get(feature),
        histogram=histogram(first, counts),
        top=strongest,
        quantiles=sampled,
        effects=effects(vocabulary, up, up_by, down, down_by),
        neighbours=neighbours(labels, near, near_by),
        coactive=coactive(labels, both, both_by, both_count),
    )
