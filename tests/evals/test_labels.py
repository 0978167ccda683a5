import numpy as np
import pytest

from saelab.evals.labels import LABELS, NotPython, anchors, mark

SOURCE = '''\
import os.path as p
@cache
def area(w, h=1, *, unit: str = "m"):
    """Area of a box."""
    if w < 0:  # see https://a.b/c
        raise ValueError(f"{w} < 0")
    return [w * x for x in (h, 2)]
class Box(Base):
    SIDES = 6
    def __len__(self): return self._n.count("a b")
'''
BY_HAND = {
    "keyword": "import as def if raise return for in class def return",
    "keyword def": "def def",
    "keyword return": "return return",
    "self": "self self",
    "operator": "= = < * =",
    "assignment sign": "=",
    "argument sign": "= =",
    "comparison sign": "<",
    "arithmetic sign": "*",
    "star argument": "*",
    "decorator sign": "@",
    "opening bracket": "( ( [ ( ( ( (",
    "closing bracket": ") ) ) ] ) ) )",
    "comma": ", , , ,",
    "dot": ". . .",
    "colon of a block": ": : :",
    "colon inside brackets": ":",
    "number": "1 0 2 6",
    "number 0 or 1": "1 0",
    "function name": "area __len__",
    "class name": "Box",
    "called name": "ValueError count",
    "method call": "count",
    "attribute": "_n count",
    "self attribute": "_n",
    "parameter": "w h unit self",
    "assigned variable": "x SIDES",
    "loop variable": "x",
    "imported module": "os.path",
    "exception name": "ValueError",
    "builtin": "str ValueError",
    "dunder name": "__len__",
    "private name": "_n",
    "constant name": "SIDES",
    "capitalised name": "ValueError Box Base",
    "string opening": '" f" "',
    "docstring opening": '"""',
    "format placeholder": "{w}",
    "URL": "https://a.b/c",
    "comment sign": "#",
    "annotation": "str",
    "default value": '1 "m"',
    "class bases": "Base",
    "decorator": "@cache",
    "assigned value": "6",
    "depth 0": 'import os . path as p @ cache def area ( w , h = 1 , * , unit : str = "m" ) : class Box ( Base ) :',
    "line start": 'import @ def """Areaofabox.""" if raise return class SIDES def',
}
WHOLE = {
    "docstring": ['"""Area of a box."""'],
    "docstring first line": ["Area of a box."],
    "comment": ["# see https://a.b/c"],
    "comment after code": ["# see https://a.b/c"],
    "f-string": ['f"{w} < 0"'],
    "error message": ['f"{w} < 0"'],
    "string": ['"m"', 'f"{w} < 0"', '"a b"'],
    "if condition": ["w < 0"],
    "import statement": ["import os.path as p"],
    "raise statement": ['raise ValueError(f"{w} < 0")'],
    "comprehension": ["[w * x for x in (h, 2)]"],
    "call arguments": ['f"{w} < 0"', '"a b"'],
    "signature": ['def area(w, h=1, *, unit: str = "m"):', "def __len__(self):"],
    "class header": ["class Box(Base):"],
    "in method": ['return self._n.count("a b")'],
    "in class": ['SIDES = 6\n    def __len__(self): return self._n.count("a b")'],
    "tuple display": ["(h, 2)"],
    "prose": ["Area", "of", "box", "see", "https"],
}


def found(label: str, source: str = SOURCE) -> list[str]:
    return [source[start:stop] for start, stop in sorted(mark(source).spans[label])]


@pytest.mark.parametrize("label", BY_HAND)
def test_a_module_of_ten_lines_is_labelled_as_by_hand(label):
    assert ["".join(text.split()) for text in found(label)] == BY_HAND[label].split(" ")


@pytest.mark.parametrize("label", WHOLE)
def test_spans_reach_from_the_first_to_the_last_character(label):
    assert found(label) == WHOLE[label]


def test_line_breaks_know_the_depth_they_lead_to():
    lines = "a\nif b:\n    c\n\nd\n"
    assert {label: mark(lines).spans[f"line break {label}"] for label in ("before indent", "before dedent")} == {
        "before indent": [(7, 8)],
        "before dedent": [(13, 14), (14, 15)],
    }
    assert mark(lines).spans["line break to depth 0"] == [(1, 2), (13, 14), (14, 15)]
    assert mark(lines).spans["line break to depth 1"] == [(7, 8)]
    assert mark(lines).spans["line break before blank"] == [(13, 14)]


def test_line_breaks_know_whether_prose_comes_next():
    source = 'def f():\n    """Doc."""\n\n    # why\n    return 1  # what\n'
    spans = mark(source).spans
    assert spans["line break before docstring"] == [(8, 9)]
    assert spans["line break before comment"] == [(23, 24), (24, 25)]


def test_characters_beyond_ascii_do_not_shift_what_follows_them():
    assert found("called name", 'é = "ü"; größe(é)\n') == ["größe"]
    assert found("assigned variable", 'x = "ü"; größe = 1\n') == ["x", "größe"]


def test_what_stands_in_an_f_string_is_string_on_every_python():
    source = 'x = f"{a + 1!r:>{width}} {{b}}" + c\n'
    assert found("f-string", source) == ['f"{a + 1!r:>{width}} {{b}}"']
    assert found("number", source) == []
    assert found("arithmetic sign", source) == ["+"]  # the one after the f-string


def test_windows_line_ends_are_line_ends():
    assert found("keyword", "if a:\r\n    return\r\n") == ["if", "return"]


@pytest.mark.parametrize(
    "text", ["It was a bright cold day.", "def f(:\n", "x = 'open\n", "a\rb\n", "if a:\n  b\n c\n"]
)
def test_text_that_is_no_python_is_told(text):
    with pytest.raises(NotPython):
        mark(text)


def test_a_module_without_a_line_is_labelled_with_nothing():
    assert not any(mark("").spans.values())


def test_a_token_speaks_by_its_first_character_that_is_no_white_space():
    text = "if  a:\n    b"
    assert anchors(text, [(0, 2), (2, 5), (5, 6), (6, 11), (11, 12)]).tolist() == [0, 4, 5, 6, 11]


def test_tokens_get_the_labels_of_the_character_that_speaks_for_them():
    text = "def f(): return 1\n"
    table = mark(text).at(anchors(text, [(0, 3), (3, 5), (5, 8), (8, 15), (15, 17), (17, 18)]))
    labels = list(LABELS)
    on = {
        label: np.flatnonzero(table[labels.index(label)]).tolist() for label in ("keyword", "function name", "number")
    }
    assert on == {"keyword": [0, 3], "function name": [1], "number": [4]}


def test_every_label_says_what_it_means():
    assert len(LABELS) >= 45
    assert all(LABELS.values())
