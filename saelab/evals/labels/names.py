"""Labels of names: what a name is there for, and what it looks like."""

import ast
import builtins
import keyword
import re

from saelab.evals.labels.marks import Marks
from saelab.evals.labels.module import Module

LABELS: dict[str, str] = {
    "function name": "the name after def",
    "class name": "the name after class",
    "called name": "a name that is called, methods included",
    "method call": "the name after a dot that is called",
    "attribute": "a name after a dot, import statements apart",
    "self attribute": "the name after self.",
    "parameter": "the name of a parameter where a function is defined",
    "keyword argument": "the name before = in a call",
    "assigned variable": "a name that is assigned to",
    "loop variable": "the target of a for loop or comprehension",
    "imported module": "the module of an import",
    "imported name": "what `from module import` brings",
    "exception name": "the class in raise or except",
    "builtin": "a name that every module has, as len or ValueError",
    "dunder name": "__name__",
    "private name": "_name",
    "constant name": "NAME_IN_CAPITALS",
    "capitalised name": "a name that starts with a capital and has small letters",
    "snake case name": "a lower-case name with an underscore inside",
    "one-letter name": "a name of one letter",
}
_LOOKS = {  # label -> how the name is written
    "dunder name": re.compile(r"__\w+__"),
    "private name": re.compile(r"_(?!_)\w+"),
    "constant name": re.compile(r"_?[A-Z][A-Z0-9_]+"),
    "capitalised name": re.compile(r"_?[A-Z]\w*[a-z]\w*"),
    "snake case name": re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+"),
    "one-letter name": re.compile(r"[A-Za-z]"),
}
_BUILTINS = {name for name in dir(builtins) if not name.startswith("_") and not keyword.iskeyword(name)}


def mark_names(module: Module, marks: Marks) -> None:
    """Mark every name by its neighbours, its looks and its place in the tree."""
    _mark_lexemes(module, marks)
    for node in module.nodes:
        if isinstance(node, ast.arg):
            start = module.span(node)[0]
            marks.mark("parameter", start, start + len(node.arg))
        elif isinstance(node, ast.keyword) and node.arg:
            start = module.span(node)[0]
            marks.mark("keyword argument", start, start + len(node.arg))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            marks.mark("assigned variable", *module.span(node))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            _mark_import(module, node, marks)
        elif isinstance(node, ast.Raise) and node.exc:
            _mark_exception(module, node.exc, marks)
        elif isinstance(node, ast.ExceptHandler) and node.type:
            for kind in node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]:
                _mark_exception(module, kind, marks)
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            marks.mark("loop variable", *module.span(node.target))


def _mark_lexemes(module: Module, marks: Marks) -> None:
    lexemes = [lexeme for lexeme in module.lexemes if lexeme.kind not in ("indent", "dedent")]
    importing = False
    for i, lexeme in enumerate(lexemes):
        before = lexemes[i - 1].text if i else ""
        if before in ("", "\n", ";", "\r\n") or lexemes[i - 1].kind in ("newline", "blank", "comment"):
            importing = lexeme.text in ("import", "from") or (importing and lexeme.depth > 0)
        if lexeme.kind != "name" or keyword.iskeyword(lexeme.text):
            continue
        dotted = before == "." and not importing
        owner = lexemes[i - 2].text if i > 1 else ""
        called = i + 1 < len(lexemes) and lexemes[i + 1].text == "(" and before not in ("def", "class")
        for label, holds in (
            ("function name", before == "def"),
            ("class name", before == "class"),
            ("called name", called),
            ("method call", called and dotted),
            ("attribute", dotted),
            ("self attribute", dotted and owner == "self"),
            ("builtin", lexeme.text in _BUILTINS and before != "."),
            *((label, bool(looks.fullmatch(lexeme.text))) for label, looks in _LOOKS.items()),
        ):
            if holds:
                marks.mark(label, lexeme.start, lexeme.stop)


def _mark_import(module: Module, node: ast.Import | ast.ImportFrom, marks: Marks) -> None:
    for alias in node.names:
        start = module.span(alias)[0]
        label = "imported module" if isinstance(node, ast.Import) else "imported name"
        marks.mark(label, start, start + len(alias.name))
    if isinstance(node, ast.ImportFrom) and node.module:
        start, stop = module.span(node)
        match = re.compile(r"from[\s.\\]*([\w.]+)").match(module.text, start, stop)
        if match:
            marks.mark("imported module", *match.span(1))


def _mark_exception(module: Module, node: ast.expr, marks: Marks) -> None:
    kind = node.func if isinstance(node, ast.Call) else node
    if isinstance(kind, ast.Name | ast.Attribute):
        start, stop = module.span(kind)
        name = kind.id if isinstance(kind, ast.Name) else kind.attr
        marks.mark("exception name", max(start, stop - len(name)), stop)
