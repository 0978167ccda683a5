"""A Python module taken apart: its text, its lexemes and its tree, all placed by character of the text.

`tokenize` counts characters within a line, `ast` counts UTF-8 bytes; here both become offsets into the text. An
f-string is one lexeme: Python 3.12 and later take it apart into tokens, earlier ones do not, and the labels shall
not depend on that. For the same reason `walk` does not enter f-strings: before 3.12 the places in them were wrong.
"""

import ast
import io
import re
import tokenize
import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

Span = tuple[int, int]  # characters [start, stop) of the text

# f-strings (3.12) and t-strings (3.14) open and close with tokens of their own; no other version has these names
_OPENS = {getattr(tokenize, name) for name in ("FSTRING_START", "TSTRING_START") if hasattr(tokenize, name)}
_CLOSES = {getattr(tokenize, name) for name in ("FSTRING_END", "TSTRING_END") if hasattr(tokenize, name)}
_FORMATTED = (ast.JoinedStr, *(getattr(ast, name) for name in ("TemplateStr",) if hasattr(ast, name)))
_KINDS = {
    tokenize.NAME: "name",
    tokenize.OP: "operator",
    tokenize.NUMBER: "number",
    tokenize.STRING: "string",
    tokenize.COMMENT: "comment",
    tokenize.NEWLINE: "newline",
    tokenize.NL: "blank",
    tokenize.INDENT: "indent",
    tokenize.DEDENT: "dedent",
}


class NotPython(ValueError):
    """The text is not a Python module that this interpreter can read."""


@dataclass(frozen=True)
class Lexeme:
    """A token of the source; `kind` is one of _KINDS, or fstring."""

    kind: str
    text: str
    start: int
    stop: int
    depth: int  # open brackets around it; a bracket stands at the depth outside it


class Module:
    """One parsed module. Raises NotPython for anything else."""

    def __init__(self, text: str) -> None:
        if re.search(r"\r(?!\n)|\0", text):
            raise NotPython("a carriage return or NUL inside a line: tokenize and ast count lines differently there")
        self.text = text
        self._lines = text.split("\n")
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line) + 1)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # invalid escapes in somebody else's source
                self.tree = ast.parse(text)
            self.lexemes = list(self._lexemes())
        except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError) as error:
            raise NotPython(str(error)) from None

    def at(self, line: int, column: int) -> int:
        """The character at a (line, column) of tokenize."""
        return min(self._starts[line - 1] + column, len(self.text)) if line <= len(self._lines) else len(self.text)

    def span(self, node: ast.AST) -> Span:
        """The characters of a node that has a place."""
        end = (node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]
        return self._at_bytes(node.lineno, node.col_offset), self._at_bytes(*end)  # type: ignore[attr-defined]

    def _at_bytes(self, line: int, column: int) -> int:
        text = self._lines[line - 1]
        return self._starts[line - 1] + (column if text.isascii() else len(text.encode()[:column].decode()))

    def line_of(self, offset: int) -> int:
        """The number, from 0, of the line that holds a character."""
        return bisect_right(self._starts, offset) - 1

    def line_span(self, line: int) -> Span:
        """The characters of line number `line`, from 0, without its line break."""
        return self._starts[line], self._starts[line] + len(self._lines[line])

    def lexemes_in(self, start: int, stop: int) -> list[Lexeme]:
        """The lexemes that begin in [start, stop)."""
        starts = self._lexeme_starts
        return self.lexemes[bisect_left(starts, start) : bisect_left(starts, stop)]

    @cached_property
    def _lexeme_starts(self) -> list[int]:
        return [lexeme.start for lexeme in self.lexemes]

    def blank_line(self, line: int) -> bool:
        """Whether line number `line` exists, is not what follows the last line break, and is empty."""
        return line < len(self._lines) - 1 and not self._lines[line].strip()

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Every node of the tree in source order, f-strings not entered."""
        return list(walk(self.tree))

    @cached_property
    def docstrings(self) -> dict[Span, str]:
        """The span of each docstring -> what it documents: module, class or function."""
        kinds = {ast.Module: "module", ast.ClassDef: "class", ast.FunctionDef: "function"}
        found: dict[Span, str] = {}
        for node in self.nodes:
            kind = kinds.get(ast.FunctionDef if isinstance(node, ast.AsyncFunctionDef) else type(node))  # type: ignore[arg-type]
            first = node.body[0] if kind and node.body else None  # type: ignore[attr-defined]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and type(first.value.value) is str:
                found[self.span(first.value)] = str(kind)
        return found

    def _lexemes(self) -> Iterator[Lexeme]:
        depth, formatted, opened = 0, 0, 0
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            start, stop = self.at(*token.start), self.at(*token.end)
            if token.type in _OPENS:
                opened = start if not formatted else opened
                formatted += 1
            elif token.type in _CLOSES:
                formatted -= 1
                if not formatted:
                    yield Lexeme("fstring", self.text[opened:stop], opened, stop, depth)
            elif token.type == tokenize.ERRORTOKEN and token.string.strip():
                raise NotPython(f"line {token.start[0]}: {token.string!r}")
            elif not formatted and token.type in _KINDS:
                depth -= token.type == tokenize.OP and token.string in ")]}"
                yield Lexeme(_kind(token), self.text[start:stop], start, stop, depth)
                depth += token.type == tokenize.OP and token.string in "([{"


def _kind(token: tokenize.TokenInfo) -> str:
    kind = _KINDS[token.type]
    quote = re.match(r"\w*", token.string)
    return "fstring" if kind == "string" and quote and "f" in quote[0].lower() else kind


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """`node` and all below it, in source order, without recursion; f-strings are given but not entered."""
    pending = [node]
    while pending:
        node = pending.pop()
        yield node
        if not isinstance(node, _FORMATTED):
            pending.extend(reversed(list(ast.iter_child_nodes(node))))
