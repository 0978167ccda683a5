"""Labels of how the code lies on the page: line breaks, indentation, the start of a line."""

from saelab.evals.labels.marks import Marks
from saelab.evals.labels.module import Module, Span

DEEPEST = 3  # deeper levels share its label
_CODE = {"name", "operator", "number", "string", "fstring"}

LABELS: dict[str, str] = {
    "line break": "the end of a line of code",
    "line break in brackets": "the end of a line inside brackets",
    "line break before indent": "a line break after which a block begins",
    "line break before dedent": "a line break after which a block has ended",
    "line break before blank": "a line break that an empty line follows",
    "line break before comment": "a line break after which a comment comes next",
    "line break before docstring": "a line break after which a docstring comes next",
    **{f"line break to depth {d}": f"a line break to code inside {d} blocks" for d in range(DEEPEST)},
    f"line break to depth {DEEPEST}+": f"a line break to code inside {DEEPEST} or more blocks",
    "line start": "the first lexeme of a line of code",
    **{f"depth {d}": f"code inside {d} blocks" for d in range(DEEPEST)},
    f"depth {DEEPEST}+": f"code inside {DEEPEST} or more blocks",
}


def _deep(depth: int) -> str:
    return f"depth {depth}" if depth < DEEPEST else f"depth {DEEPEST}+"


def mark_layout(module: Module, marks: Marks) -> None:
    """Mark line breaks, line starts and the depth of all code."""
    depth, fresh = 0, True
    pending: list[Span] = []  # line breaks since the last code, the first of which ended a line of code
    before = 0
    for lexeme in module.lexemes:
        if lexeme.kind in ("indent", "dedent"):
            depth += 1 if lexeme.kind == "indent" else -1
        elif lexeme.kind == "newline" or (lexeme.kind == "blank" and not lexeme.depth):
            pending.append((lexeme.start, lexeme.stop))
            fresh = fresh or lexeme.kind == "newline"
            if lexeme.kind == "newline":
                marks.mark("line break", lexeme.start, lexeme.stop)
        elif lexeme.kind == "blank":
            marks.mark("line break in brackets", lexeme.start, lexeme.stop)
        elif lexeme.kind in _CODE:
            marks.mark(_deep(depth), lexeme.start, lexeme.stop)
            if fresh:
                marks.mark("line start", lexeme.start, lexeme.stop)
                _turn(marks, pending, before, depth)
                pending, before, fresh = [], depth, False
    _blanks(module, marks)
    _before_prose(module, marks)


def _turn(marks: Marks, breaks: list[Span], before: int, depth: int) -> None:
    """Label the line breaks between two lines of code by the depth they lead to."""
    for start, stop in breaks:
        marks.mark(f"line break to {_deep(depth)}", start, stop)
        if depth != before:
            marks.mark("line break before indent" if depth > before else "line break before dedent", start, stop)


def _blanks(module: Module, marks: Marks) -> None:
    for lexeme in module.lexemes:
        if lexeme.kind in ("newline", "blank") and module.blank_line(module.line_of(lexeme.start) + 1):
            marks.mark("line break before blank", lexeme.start, lexeme.stop)


def _before_prose(module: Module, marks: Marks) -> None:
    """Where prose comes next: a model knows only what it expects, so no feature can be right every time."""
    breaks: list[Span] = []
    for lexeme in module.lexemes:
        if lexeme.kind in ("newline", "blank"):
            breaks.append((lexeme.start, lexeme.stop))
        elif lexeme.kind not in ("indent", "dedent"):
            documented = (lexeme.start, lexeme.stop) in module.docstrings
            for start, stop in breaks if documented or lexeme.kind == "comment" else []:
                marks.mark(f"line break before {'docstring' if documented else 'comment'}", start, stop)
            breaks = []
