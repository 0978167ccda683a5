"""Finding features by the words of their labels and notes, best match first, in SQL and offline.

    BM25(feature) = sum over query words of idf * tf (k + 1) / (tf + k (1 - b + b * words / mean words))
    idf           = ln(1 + (N - n + 1/2) / (n + 1/2))

over the N features that have a label or a note, n of which hold the word; a word of the query stands for every word it
begins. Robertson and Zaragoza 2009, "The probabilistic relevance framework: BM25 and beyond", with k = 1.2, b = 0.75.
"""

from collections.abc import Mapping

import duckdb

K, B = 1.2, 0.75
WORD = r"[\p{L}\p{N}_]+"

_QUERY = f"""
with said as (select unnest(?::integer[]) as feature, unnest(?::varchar[]) as text),
words as (select feature, unnest(regexp_extract_all(lower(text), '{WORD}')) as word from said),
lengths as (select feature, count(*) as n from words group by feature),
asked as (select distinct unnest(regexp_extract_all(lower(?), '{WORD}')) as q),
hits as (select feature, q, count(*) as tf from words join asked on starts_with(word, q) group by feature, q),
rarity as (select q, count(*) as df from hits group by q),
score as (
    select feature, sum(
        ln(1 + ((select count(*) from lengths) - df + 0.5) / (df + 0.5))
        * tf * ({K} + 1) / (tf + {K} * (1 - {B} + {B} * n / (select avg(n) from lengths)))
    ) as score
    from hits join rarity using (q) join lengths using (feature) group by feature
)
select feature, score from score order by score desc, feature limit ?
"""
_CONTAINS = """
with said as (select unnest(?::integer[]) as feature, unnest(?::varchar[]) as text)
select feature, 0.0 as score from said where contains(lower(text), lower(?)) order by feature limit ?
"""


def matching(
    cursor: duckdb.DuckDBPyConnection, texts: Mapping[int, str], query: str, limit: int
) -> list[tuple[int, float]]:
    """(feature, score) of the features whose text matches; a query without words is looked for as it stands."""
    values = [list(texts), list(texts.values()), query, limit]
    has_word = any(letter.isalnum() or letter == "_" for letter in query)
    return cursor.execute(_QUERY if has_word else _CONTAINS, values).fetchall() if query.strip() else []
