"""A condition on features as a person writes it, and as it is run: column names checked, every value bound.

    density > 0.001 and max between 2 and 8 and not label like 'comment%'

The language is the part of SQL that chooses rows: comparisons of columns, numbers and 'texts'; between, in, like,
ilike, is null; and, or, not, parentheses. Nothing else is read, so no text can reach a file, another table or a
function.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from saelab.errors import FeatureIndexError

LONGEST, DEEPEST = 2000, 40  # characters, parentheses
NUMBERS = (
    "feature", "density", "count", "contexts", "max", "mean", "std", "q10", "q25", "q50", "q75", "q90", "q99",
    "cosine", "encoder_norm", "decoder_norm", "b_enc", "threshold", "pc1", "pc2", "matryoshka_group", "f1",
)  # fmt: skip
TEXTS = ("label", "kind")
COLUMNS = (*NUMBERS, *TEXTS)
_WORDS = {"and", "or", "not", "between", "in", "like", "ilike", "is", "null"}
_TOKEN = re.compile(
    r"""\s*(?:(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)|(?P<text>'(?:[^']|'')*')"""
    r"""|(?P<name>[A-Za-z_][A-Za-z_0-9]*|"[A-Za-z_0-9]+")|(?P<sign><=|>=|<>|!=|=|<|>|\(|\)|,))"""
)
_COMPARE = {"=", "<>", "!=", "<", "<=", ">", ">="}


@dataclass(frozen=True)
class Condition:
    """One condition: as written, as SQL with places to bind, the values, and the columns it speaks of."""

    text: str
    sql: str
    values: tuple[Any, ...]
    columns: frozenset[str]


@dataclass(frozen=True)
class Where:
    """Conditions that must all hold; none lets every feature pass."""

    parts: tuple[Condition, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Where":
        """Read what a person wrote. Raises FeatureIndexError saying what is wrong, where, and what would be right."""
        return cls(tuple(_Parser(text).whole())) if text.strip() else cls()

    @property
    def text(self) -> str:
        """What `parse` reads back."""
        return " and ".join(part.text for part in self.parts)

    def conditions(self) -> list[tuple[str, tuple[Any, ...]]]:
        """Each condition as SQL and the values to bind in it."""
        return [(part.sql, part.values) for part in self.parts]

    def at_least(self, column: str) -> float | None:
        """The number that one of the conditions says this column has at least; None where none does."""
        return next((part.values[0] for part in self.parts if part.sql == f'("{column}" >= ?)'), None)

    def replaced(self, columns: Iterable[str], text: str) -> "Where":
        """Without the conditions that speak of these columns alone, and with what `text` says instead."""
        about = frozenset(columns)
        return Where(tuple(part for part in self.parts if not part.columns <= about) + Where.parse(text).parts)


def literal(value: float | str) -> str:
    """A value as it is written in a condition."""
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else f"{value:.6g}"


@dataclass
class _Parser:
    text: str
    _tokens: list[tuple[str, str, int, int]] = field(default_factory=list)  # (kind, word, start, end)
    _at: int = 0
    _depth: int = 0

    def __post_init__(self) -> None:
        if len(self.text) > LONGEST:
            raise FeatureIndexError(f"a filter has at most {LONGEST:,} characters; this one has {len(self.text):,}.")
        at = 0
        while self.text[at:].strip():
            match = _TOKEN.match(self.text, at)
            if match is None:
                raise self._wrong(at + len(self.text[at:]) - len(self.text[at:].lstrip()), "is not understood")
            kind = str(match.lastgroup)
            (start, at), word = match.span(kind), match[kind]
            if kind == "name" and word.lower() in _WORDS:
                kind, word = "word", word.lower()
            self._tokens.append((kind, word, start, at))

    def whole(self) -> list[Condition]:
        found = self._any()
        if self._at < len(self._tokens):
            raise self._wrong(self._tokens[self._at][2], "comes where `and`, `or` or the end was expected")
        return found

    def _any(self) -> list[Condition]:
        """`or` binds less than `and`: one condition when there is an `or`, else those that `and` joins."""
        start, choices = self._at, [self._all()]
        while self._take("word", "or"):
            choices.append(self._all())
        if len(choices) == 1:
            return choices[0]
        either = [_joined(all_of, "and") for all_of in choices]
        return [_joined(either, "or", f"({self._written(start)})")]

    def _all(self) -> list[Condition]:
        found = self._not()
        while self._take("word", "and"):
            found += self._not()
        return found

    def _not(self) -> list[Condition]:
        start = self._at
        if not self._take("word", "not"):
            return self._one()
        denied = _joined(self._not(), "and")
        return [Condition(self._written(start), f"(not {denied.sql})", denied.values, denied.columns)]

    def _one(self) -> list[Condition]:
        if not self._take("sign", "("):
            return [self._comparison()]
        self._depth += 1
        if self._depth > DEEPEST:
            raise FeatureIndexError(f"a filter has at most {DEEPEST} parentheses inside each other.")
        found = self._any()
        self._expect("sign", ")")
        self._depth -= 1
        return found

    def _comparison(self) -> Condition:
        start = self._at
        left = self._operand()
        negated = "not " if self._take("word", "not") else ""
        if self._take("word", "between"):
            low = self._operand()
            self._expect("word", "and")
            parts, sql = [left, low, self._operand()], f"{{}} {negated}between {{}} and {{}}"
        elif self._take("word", "in"):
            parts = [left, *self._list()]
            sql = f"{{}} {negated}in ({', '.join(['{}'] * (len(parts) - 1))})"
        elif (like := self._take("word", "like") or self._take("word", "ilike")) is not None:
            parts, sql = [left, self._operand()], f"{{}} {negated}{like} {{}}"
        elif not negated and self._take("word", "is"):
            parts, sql = [left], f"{{}} is {'not ' if self._take('word', 'not') else ''}null"
            self._expect("word", "null")
        else:
            sign = self._next()
            if negated or sign[1] not in _COMPARE:
                raise self._wrong(sign[2], "comes where a comparison was expected (=, <, between, in, like, is null)")
            parts, sql = [left, self._operand()], f"{{}} {sign[1]} {{}}"
        return self._condition(start, parts, sql)

    def _condition(self, start: int, parts: list[tuple[str, Any]], sql: str) -> Condition:
        columns = frozenset(value for kind, value in parts if kind == "name")
        if not columns:
            raise self._wrong(self._tokens[start][2], "begins a comparison that speaks of no column")
        shown = [f'"{value}"' if kind == "name" else "?" for kind, value in parts]
        values = tuple(value for kind, value in parts if kind != "name")
        texts = {isinstance(value, str) for value in values} | {column in TEXTS for column in columns}
        if len(texts) > 1:
            raise self._wrong(self._tokens[start][2], f"compares a number with a text; {' and '.join(TEXTS)} hold text")
        return Condition(self._written(start), f"({sql.format(*shown)})", values, columns)

    def _list(self) -> list[tuple[str, Any]]:
        self._expect("sign", "(")
        found = [self._operand()]
        while self._take("sign", ","):
            found.append(self._operand())
        self._expect("sign", ")")
        return found

    def _operand(self) -> tuple[str, Any]:
        kind, word, start, _ = self._next()
        if kind == "number":
            return kind, float(word)
        if kind == "text":
            return kind, word[1:-1].replace("''", "'")
        name = word.strip('"').lower()
        if kind != "name":
            raise self._wrong(start, "comes where a column, a number or a 'text' was expected")
        if name not in COLUMNS:
            near = difflib.get_close_matches(name, COLUMNS, n=1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise FeatureIndexError(f"features have no column {name!r}. {hint}There are: {', '.join(COLUMNS)}.")
        return kind, name

    def _take(self, kind: str, word: str) -> str | None:
        if self._at < len(self._tokens) and self._tokens[self._at][:2] == (kind, word):
            self._at += 1
            return word
        return None

    def _expect(self, kind: str, word: str) -> None:
        if self._take(kind, word) is None:
            raise self._wrong(self._tokens[self._at][2] if self._at < len(self._tokens) else len(self.text),
                              f"comes where `{word}` was expected")  # fmt: skip

    def _next(self) -> tuple[str, str, int, int]:
        if self._at == len(self._tokens):
            raise self._wrong(len(self.text), "comes too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _written(self, start: int) -> str:
        return self.text[self._tokens[start][2] : self._tokens[self._at - 1][3]]

    def _wrong(self, at: int, what: str) -> FeatureIndexError:
        there = repr(self.text[at : at + 20]) if at < len(self.text) else "the end"
        return FeatureIndexError(
            f"the filter is not understood: {there} {what} (character {at + 1}).\n"
            "  as in:  density > 0.001 and max between 2 and 8 and label like 'comment%'"
        )


def _joined(parts: list[Condition], word: str, text: str = "") -> Condition:
    """Several conditions as one."""
    return Condition(
        text or f" {word} ".join(part.text for part in parts),
        f"({f' {word} '.join(part.sql for part in parts)})",
        tuple(value for part in parts for value in part.values),
        frozenset().union(*(part.columns for part in parts)),
    )
