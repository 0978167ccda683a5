"""Labels of single lexemes: keywords, operators, brackets, numbers."""

import keyword

from saelab.evals.labels.marks import Marks
from saelab.evals.labels.module import Module

# Words with a label of their own -> that label
_ALONE = ("def", "class", "return", "import", "from", "if", "for", "in", "is", "not", "try", "except", "raise")
_RARER = ("with", "as", "lambda", "while", "yield", "pass")
WORDS: dict[str, str] = {
    **{word: f"keyword {word}" for word in (*_ALONE, *_RARER)},
    **dict.fromkeys(("elif", "else"), "elif or else"),
    **dict.fromkeys(("and", "or"), "and, or"),
    **dict.fromkeys(("async", "await"), "async, await"),
    **dict.fromkeys(("True", "False"), "True, False"),
    "None": "None",
    "self": "self",
    "cls": "cls",
}
_COMPUTES = ["+", "-", "*", "/", "//", "%", "**", "@", "&", "|", "^", "<<", ">>"]
SIGNS: dict[str, str] = {
    **dict.fromkeys(["==", "!=", "<", ">", "<=", ">="], "comparison sign"),
    **dict.fromkeys([*_COMPUTES, "~"], "arithmetic sign"),
    **dict.fromkeys([f"{sign}=" for sign in _COMPUTES], "augmented assignment"),
    **dict.fromkeys("([{", "opening bracket"),
    **dict.fromkeys(")]}", "closing bracket"),
    ",": "comma",
    ".": "dot",
    "->": "return arrow",
    ":=": "walrus",
}
EXACTLY = {"(": "(", ")": ")", "[": "[", "]": "]", "{": "{", "}": "}"}  # brackets one by one

LABELS: dict[str, str] = {
    "keyword": "any reserved word but None, True and False",
    **{label: f"the word {word}" for word, label in WORDS.items()},
    "elif or else": "the word elif or else",
    "and, or": "the word and, or the word or",
    "async, await": "the word async or await",
    "True, False": "the word True or False",
    "operator": "a sign that computes, compares or assigns; no bracket, comma, dot or colon",
    **{label: label for label in SIGNS.values()},
    **{label: f"the bracket {label}" for label in EXACTLY},
    "assignment sign": "= outside brackets",
    "argument sign": "= inside brackets: a keyword argument or a default",
    "colon of a block": "a colon outside brackets that ends its line",
    "colon inside brackets": "a colon of a dict, a slice or an annotated parameter",
    "star argument": "* or ** right after an opening bracket or a comma",
    "decorator sign": "the @ of a decorator",
    "number": "a number",
    "number 0 or 1": "the number 0 or 1",
}
_LINE_ENDS = {"newline", "blank", "comment", "indent", "dedent"}
_PUNCTUATION = {"comma", "dot", "opening bracket", "closing bracket", "return arrow"}


def mark_lexemes(module: Module, marks: Marks) -> None:
    """Mark every keyword, sign and number."""
    for i, lexeme in enumerate(module.lexemes):
        if lexeme.kind == "name":
            if keyword.iskeyword(lexeme.text) and lexeme.text not in ("None", "True", "False"):
                marks.mark("keyword", lexeme.start, lexeme.stop)
            if lexeme.text in WORDS and not _after_dot(module, i):
                marks.mark(WORDS[lexeme.text], lexeme.start, lexeme.stop)
        elif lexeme.kind == "operator":
            for label in _sign_labels(module, i):
                marks.mark(label, lexeme.start, lexeme.stop)
        elif lexeme.kind == "number":
            marks.mark("number", lexeme.start, lexeme.stop)
            if lexeme.text in ("0", "1"):
                marks.mark("number 0 or 1", lexeme.start, lexeme.stop)


def _after_dot(module: Module, i: int) -> bool:
    return i > 0 and module.lexemes[i - 1].text == "."


def _sign_labels(module: Module, i: int) -> list[str]:
    """The labels of the operator at lexeme i."""
    sign = module.lexemes[i].text
    labels = [SIGNS[sign]] if sign in SIGNS else []
    if sign in EXACTLY:
        labels.append(EXACTLY[sign])
    if sign == "=":
        labels.append("argument sign" if module.lexemes[i].depth else "assignment sign")
    if sign == ":":
        labels += _colon(module, i)
    if sign == "@" and (not i or module.lexemes[i - 1].kind in _LINE_ENDS):
        return ["decorator sign"]
    if sign in ("*", "**") and i and module.lexemes[i - 1].text in ("(", ","):
        return ["star argument"]
    if sign not in (":", ";", "...") and not _PUNCTUATION & set(labels):
        labels.append("operator")
    return labels


def _colon(module: Module, i: int) -> list[str]:
    if module.lexemes[i].depth:
        return ["colon inside brackets"]
    following = module.lexemes[i + 1 : i + 2]
    ends = bool(following) and following[0].kind in ("newline", "blank", "comment")
    return ["colon of a block"] if ends else []
