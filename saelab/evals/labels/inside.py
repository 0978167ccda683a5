"""Labels of where code stands: inside which statement or expression."""

import ast
from collections.abc import Callable

from saelab.evals.labels.marks import Marks
from saelab.evals.labels.module import Module, Span

LABELS: dict[str, str] = {
    "in class": "the body of a class",
    "in function": "the body of a function",
    "in method": "the body of a function that stands in a class",
    "in nested function": "the body of a function that stands in a function",
    "in loop": "the body of for or while",
    "in if": "the body of an if",
    "in with": "the body of with",
    "in try": "the body of try",
    "in except": "the body of except",
    "signature": "a function from def to the colon",
    "class header": "a class from class to the colon",
    "class bases": "the bases of a class",
    "decorator": "a decorator, @ included",
    "annotation": "a type annotation",
    "default value": "the default of a parameter",
    "import statement": "an import, the whole of it",
    "return statement": "a return, the whole of it",
    "raise statement": "a raise, the whole of it",
    "assert statement": "an assert, the whole of it",
    "del, global, nonlocal": "such a statement, the whole of it",
    "error message": "a string inside raise",
    "if condition": "what an if asks",
    "while condition": "what a while asks",
    "loop source": "what a for loop runs over",
    "assigned value": "the right-hand side of an assignment",
    "call arguments": "what stands in the brackets of a call",
    "subscript": "what stands in the brackets of an index or slice",
    "comprehension": "a comprehension or generator expression",
    "lambda": "a lambda",
    "comparison": "a comparison",
    "boolean expression": "operands of and, or, not",
    "conditional expression": "a if b else c",
    "dict display": "a dict written out",
    "list display": "a list written out",
    "tuple display": "a tuple written out",
    "slice": "a slice a:b",
}
_STATEMENTS: dict[str, tuple[type[ast.AST], ...]] = {  # marked from end to end
    "import statement": (ast.Import, ast.ImportFrom),
    "return statement": (ast.Return,),
    "raise statement": (ast.Raise,),
    "assert statement": (ast.Assert,),
    "del, global, nonlocal": (ast.Delete, ast.Global, ast.Nonlocal),
    "comprehension": (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
    "lambda": (ast.Lambda,),
    "comparison": (ast.Compare,),
    "conditional expression": (ast.IfExp,),
    "dict display": (ast.Dict,),
    "list display": (ast.List,),
    "tuple display": (ast.Tuple,),
    "slice": (ast.Slice,),
}
_BODIES: dict[type[ast.AST], str] = {
    ast.ClassDef: "in class",
    ast.FunctionDef: "in function",
    ast.AsyncFunctionDef: "in function",
    ast.For: "in loop",
    ast.AsyncFor: "in loop",
    ast.While: "in loop",
    ast.If: "in if",
    ast.With: "in with",
    ast.AsyncWith: "in with",
    ast.Try: "in try",
    ast.ExceptHandler: "in except",
    **({ast.TryStar: "in try"} if hasattr(ast, "TryStar") else {}),  # Python 3.11
}
_PARTS: dict[type[ast.AST], tuple[str, str]] = {  # a child that is marked -> (label, field)
    ast.If: ("if condition", "test"),
    ast.While: ("while condition", "test"),
    ast.For: ("loop source", "iter"),
    ast.AsyncFor: ("loop source", "iter"),
    ast.Assign: ("assigned value", "value"),
    ast.AugAssign: ("assigned value", "value"),
    ast.AnnAssign: ("assigned value", "value"),
    ast.Subscript: ("subscript", "slice"),
}
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def mark_inside(module: Module, marks: Marks) -> None:
    """Mark the reach of every statement and expression that has a label."""
    by_type = {kind: label for label, kinds in _STATEMENTS.items() for kind in kinds}
    for node in module.nodes:
        if type(node) in by_type:
            marks.mark(by_type[type(node)], *module.span(node))
        if type(node) in _BODIES:
            marks.mark(_BODIES[type(node)], *_body(module, node))
        if type(node) in _PARTS:
            label, field = _PARTS[type(node)]
            if getattr(node, field) is not None:
                marks.mark(label, *module.span(getattr(node, field)))
        for kind, special in _SPECIAL.items():
            if isinstance(node, kind):
                special(module, node, marks)


def _body(module: Module, node: ast.AST) -> Span:
    body = node.body  # type: ignore[attr-defined]
    return module.span(body[0])[0], module.span(body[-1])[1]


def _definition(module: Module, node: ast.AST, marks: Marks) -> None:
    """Decorators, the header, and functions by what they stand in."""
    start = module.span(node)[0]
    colons = [lexeme.stop for lexeme in module.lexemes_in(start, _body(module, node)[0]) if lexeme.text == ":"]
    for decorator in node.decorator_list:  # type: ignore[attr-defined]
        first, last = module.span(decorator)
        marks.mark("decorator", module.text.rfind("@", 0, first), last)
    marks.mark("class header" if isinstance(node, ast.ClassDef) else "signature", start, colons[-1])
    for child in node.body:  # type: ignore[attr-defined]
        if isinstance(child, _FUNCTIONS):
            label = "in method" if isinstance(node, ast.ClassDef) else "in nested function"
            marks.mark(label, *_body(module, child))
    for base in getattr(node, "bases", []):
        marks.mark("class bases", *module.span(base))
    if getattr(node, "returns", None):
        marks.mark("annotation", *module.span(node.returns))  # type: ignore[attr-defined]


def _arguments(module: Module, node: ast.AST, marks: Marks) -> None:
    defaults = [*node.defaults, *(value for value in node.kw_defaults if value)]  # type: ignore[attr-defined]
    for value in defaults:
        marks.mark("default value", *module.span(value))


def _annotated(module: Module, node: ast.AST, marks: Marks) -> None:
    if node.annotation:  # type: ignore[attr-defined]
        marks.mark("annotation", *module.span(node.annotation))  # type: ignore[attr-defined]


def _call(module: Module, node: ast.AST, marks: Marks) -> None:
    opened = module.text.find("(", module.span(node.func)[1])  # type: ignore[attr-defined]
    marks.mark("call arguments", opened + 1, module.span(node)[1] - 1)


def _raise(module: Module, node: ast.AST, marks: Marks) -> None:
    start, stop = module.span(node)
    for lexeme in module.lexemes_in(start, stop):
        if lexeme.kind in ("string", "fstring"):
            marks.mark("error message", lexeme.start, lexeme.stop)


def _operands(module: Module, node: ast.AST, marks: Marks) -> None:
    if isinstance(node, ast.BoolOp) or isinstance(getattr(node, "op", None), ast.Not):
        marks.mark("boolean expression", *module.span(node))


_SPECIAL: dict[type[ast.AST] | tuple[type[ast.AST], ...], Callable[[Module, ast.AST, Marks], None]] = {
    _DEFINITIONS: _definition,
    ast.arguments: _arguments,
    (ast.arg, ast.AnnAssign): _annotated,
    ast.Call: _call,
    ast.Raise: _raise,
    (ast.BoolOp, ast.UnaryOp): _operands,
}
