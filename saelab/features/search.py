"""Finding features without text to run: by what they were labelled, and by the tokens they promote."""

import duckdb

from saelab.features.records import Label, TokenEffect, TokenMatch
from saelab.features.vocabulary import Vocabulary


def promoting(
    cursor: duckdb.DuckDBPyConnection,
    vocabulary: Vocabulary,
    labels: dict[int, Label],
    text: str,
    limit: int,
) -> tuple[TokenMatch, ...]:
    """Features that have a token containing `text` among those they promote most, the strongest effect first."""
    rows = cursor.execute(
        "select feature, id, logit from promoting semi join (select unnest(?::integer[]) as id) using (id) "
        "order by logit desc, feature, id limit ?",
        [vocabulary.containing(text), limit],
    ).fetchall()
    return tuple(TokenMatch(f, TokenEffect(vocabulary[token], token, logit), labels.get(f)) for f, token, logit in rows)
