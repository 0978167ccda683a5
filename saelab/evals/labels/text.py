"""Labels of what people read: comments, docstrings, strings and what stands in them."""

import re

from saelab.evals.labels.marks import Marks
from saelab.evals.labels.module import Lexeme, Module

LABELS: dict[str, str] = {
    "comment": "a comment, # included",
    "comment sign": "the # of a comment",
    "comment on its own line": "a comment with nothing before it",
    "comment after code": "a comment that follows code on its line",
    "docstring": "the docstring of a module, class or function",
    "module docstring": "the docstring of the module",
    "class docstring": "the docstring of a class",
    "function docstring": "the docstring of a function",
    "docstring opening": "the quotes that open a docstring",
    "docstring closing": "the quotes that close a docstring",
    "docstring first line": "the first line of a docstring, quotes apart",
    "doctest": "a line of a docstring that starts with >>> or ...",
    "string": "a string that is no docstring; f-strings count",
    "string opening": "the prefix and quotes that open a string",
    "string closing": "the quotes that close a string",
    "one-word string": "a string that holds one word",
    "f-string": "an f-string",
    "raw string": "a string with the prefix r",
    "bytes": "a string with the prefix b",
    "escape": "a backslash escape in a string",
    "format placeholder": "%s and its kin, or {...}, in a string",
    "URL": "a web address in a comment or a string",
    "prose": "a word of a comment or docstring",
    "capital in prose": "a capitalised word of a comment or docstring",
    "full stop in prose": "a full stop that ends a sentence of a comment or docstring",
    "quoted name in prose": "`name` or 'name' in a comment or docstring",
}
_INSIDE = {  # label -> what it looks like inside a string
    "escape": re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[0-7]{1,3}|N\{[^}]*\}|.)"),
    "format placeholder": re.compile(r"%[-+ #0]*\d*(?:\.\d+)?[srdifgxXc]|%\(\w+\)[srdifgxX]|\{[\w.!:\[\]]*\}"),
}
_IN_PROSE = {  # label -> what it looks like in a comment or docstring
    "prose": re.compile(r"[^\W\d_]{2,}"),
    "capital in prose": re.compile(r"\b[A-Z][a-z]+\b"),
    "full stop in prose": re.compile(r"(?<=\w)\.(?=\s|\"|'|$)"),
    "quoted name in prose": re.compile(r"`+[\w.()]+`+|'[\w.()]+'"),
}
_URL = re.compile(r"https?://[^\s'\"<>)]*[^\s'\"<>).,;:]")
_QUOTES = re.compile(r"(\w*)('''|\"\"\"|'|\")")


def mark_text(module: Module, marks: Marks) -> None:
    """Mark every comment and string."""
    for lexeme in module.lexemes:
        if lexeme.kind == "comment":
            _comment(module, lexeme, marks)
        elif lexeme.kind in ("string", "fstring"):
            documented = module.docstrings.get((lexeme.start, lexeme.stop))
            if documented:
                _docstring(module, lexeme, documented, marks)
            else:
                _string(lexeme, marks)


def _comment(module: Module, lexeme: Lexeme, marks: Marks) -> None:
    line_start = module.line_span(module.line_of(lexeme.start))[0]
    alone = not module.text[line_start : lexeme.start].strip()
    for label in ("comment", "comment on its own line" if alone else "comment after code"):
        marks.mark(label, lexeme.start, lexeme.stop)
    marks.mark("comment sign", lexeme.start, lexeme.start + 1)
    _prose(lexeme, marks)


def _docstring(module: Module, lexeme: Lexeme, documented: str, marks: Marks) -> None:
    opening, closing = _quotes(lexeme)
    marks.mark("docstring", lexeme.start, lexeme.stop)
    marks.mark(f"{documented} docstring", lexeme.start, lexeme.stop)
    marks.mark("docstring opening", lexeme.start, opening)
    marks.mark("docstring closing", closing, lexeme.stop)
    first = re.compile(r"\s*(.*)").match(module.text, opening, closing)
    if first:
        marks.mark("docstring first line", *first.span(1))
    for match in re.finditer(r"^[ \t]*((?:>>>|\.\.\.) .*)$", lexeme.text, re.MULTILINE):
        marks.mark("doctest", lexeme.start + match.start(1), lexeme.start + match.end(1))
    _prose(lexeme, marks)


def _string(lexeme: Lexeme, marks: Marks) -> None:
    opening, closing = _quotes(lexeme)
    marks.mark("string", lexeme.start, lexeme.stop)
    marks.mark("string opening", lexeme.start, opening)
    marks.mark("string closing", closing, lexeme.stop)
    prefix = lexeme.text[: opening - lexeme.start].rstrip("'\"").lower()
    for letter, label in (("f", "f-string"), ("r", "raw string"), ("b", "bytes")):
        if letter in prefix:
            marks.mark(label, lexeme.start, lexeme.stop)
    inside = lexeme.text[opening - lexeme.start : closing - lexeme.start]
    if re.fullmatch(r"\w+", inside):
        marks.mark("one-word string", opening, closing)
    for label, pattern in _INSIDE.items():
        if label != "escape" or "r" not in prefix:
            for match in pattern.finditer(inside):
                marks.mark(label, opening + match.start(), opening + match.end())
    _urls(lexeme, marks)


def _prose(lexeme: Lexeme, marks: Marks) -> None:
    for label, pattern in _IN_PROSE.items():
        for match in pattern.finditer(lexeme.text):
            marks.mark(label, lexeme.start + match.start(), lexeme.start + match.end())
    _urls(lexeme, marks)


def _urls(lexeme: Lexeme, marks: Marks) -> None:
    for match in _URL.finditer(lexeme.text):
        marks.mark("URL", lexeme.start + match.start(), lexeme.start + match.end())


def _quotes(lexeme: Lexeme) -> tuple[int, int]:
    """Where the opening quotes end and where the closing ones begin."""
    match = _QUOTES.match(lexeme.text)
    if not match:
        raise AssertionError(f"a string without quotes: {lexeme.text!r}")
    return lexeme.start + match.end(), lexeme.stop - len(match[2])
