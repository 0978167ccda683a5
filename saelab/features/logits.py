"""What a feature writes: the next tokens it promotes and suppresses."""

import duckdb

from saelab.features.records import LogitEffects, TokenEffect
from saelab.features.vocabulary import Vocabulary


def effects(cursor: duckdb.DuckDBPyConnection, vocabulary: Vocabulary, feature: int) -> LogitEffects | None:
    """Both lists, strongest first; None when built without a language model, or where the site has no direction."""
    row = cursor.execute(
        "select promoted, promoted_by, suppressed, suppressed_by from logits where feature = ?", [feature]
    ).fetchone()
    if row is None:
        return None
    up, up_by, down, down_by = row
    return LogitEffects(_effects(vocabulary, up, up_by), _effects(vocabulary, down, down_by))


def _effects(vocabulary: Vocabulary, ids: list[int], by: list[float]) -> tuple[TokenEffect, ...]:
    return tuple(TokenEffect(vocabulary[token], token, logit) for token, logit in zip(ids, by, strict=True))
