"""Which features fire on a token: counted over every activation of the index, in SQL.

precision = firings on the tokens asked for / firings       recall = such firings / occurrences of the tokens
F1        = 2 * such firings / (firings + occurrences)
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from saelab.errors import FeatureIndexError, StoreMismatch
from saelab.features.generation import Generation
from saelab.features.records import Label
from saelab.store import Store
from saelab.store.sandbox import connect, literal

SECONDS = 60.0  # 10^9 activations take most of it


@dataclass(frozen=True)
class TokenFiring:
    """One feature on the tokens asked for: on how many of them it fires, and how strongly at most."""

    feature: int
    count: int
    max: float
    precision: float
    recall: float
    f1: float
    label: Label | None


@dataclass(frozen=True)
class TokenAnswer:
    """The features that fire on these tokens, which occur so many times among the indexed ones; best F1 first."""

    tokens: tuple[str, ...]
    occurrences: int
    firing: tuple[TokenFiring, ...]


_QUERY = """
select feature, count(*) as n, max(act)::double as strongest, any_value(features.count) as fires
from read_parquet({codes}) semi join wanted using (row) join features using (feature)
group by feature order by 2 * n / (fires + ?) desc, feature limit ?
"""


def firing_on(
    now: Generation, store: Store, labels: dict[int, Label], text: str, *, contains: bool, limit: int
) -> TokenAnswer:
    """Features by F1. Tokens are those that are `text` but for spaces around them, or, with `contains`, hold it.

    Raises StoreMismatch when the index is of another store, FeatureIndexError when it has no token strings.
    """
    require_store(now, store)
    ids = token_ids(now, text, contains)
    tokens = store.columns(["token"], str(now.facts["settings"]["split"]))["token"].to_numpy()
    rows = np.flatnonzero(np.isin(tokens, ids)).astype(np.int64)
    files = literal(str(now.layout.codes(0).parent.resolve() / "*.parquet"))
    with connect(None, [now.layout.root], seconds=SECONDS) as connection:
        connection.execute(f"attach {literal(str(now.path.resolve()))} as app (read_only)")
        connection.execute("use app")
        connection.register("wanted", pa.table({"row": rows}))
        found = connection.execute(_QUERY.format(codes=files), [len(rows), limit]).fetchall()
    firing = [
        TokenFiring(f, n, top, n / fires, n / len(rows), 2 * n / (fires + len(rows)), labels.get(f))
        for f, n, top, fires in found
    ]
    return TokenAnswer(now.vocabulary.strings(ids) or (), len(rows), tuple(firing))


def token_ids(now: Generation, text: str, contains: bool) -> list[int]:
    """The tokens that are, or contain, `text`."""
    if not now.vocabulary.tokens:
        raise FeatureIndexError(
            f"{now.layout.root} was built without a language model and knows no token strings.\n"
            "  fix:   run `saelab index` again, without --no-model"
        )
    if contains:
        return now.vocabulary.containing(text)
    wanted = text.strip(" ")
    return [i for i, token in enumerate(now.vocabulary.tokens) if token.strip(" ") == wanted]


def require_store(now: Generation, store: Store) -> None:
    """Raise StoreMismatch unless the index was made from this store."""
    if store.hash != now.facts["store"]:
        raise StoreMismatch(
            f"{now.layout.root} was made from the rows of another store.\n"
            f"  index: store {now.facts['store']}\n  given: {store.path}, store {store.hash}\n"
            "  fix:   name the store of this run"
        )
