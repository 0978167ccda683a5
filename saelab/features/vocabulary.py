"""The readable string of every token, so that pages need no language model."""

from collections.abc import Sequence

import duckdb


class Vocabulary:
    """Token strings by id, read once per database; empty when the index was built without a language model."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self.tokens = [token for (token,) in cursor.execute("select token from vocabulary order by id").fetchall()]

    def strings(self, ids: Sequence[int]) -> tuple[str, ...] | None:
        """The strings of `ids`, None when there are none. They are data, not HTML: whoever draws them escapes them."""
        return tuple(map(self.tokens.__getitem__, ids)) if self.tokens else None

    def containing(self, text: str) -> list[int]:
        """The tokens whose string contains `text`, whatever its case."""
        return [i for i, token in enumerate(self.tokens) if text.lower() in token.lower()]

    def __getitem__(self, token: int) -> str:
        return self.tokens[token]
