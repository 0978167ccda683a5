"""Labels of every character of a Python module, from `tokenize` and `ast` alone: nobody had to write them down.

One file per kind of label; each holds its labels with their meaning and a function that marks them.
"""

from collections.abc import Callable

from saelab.evals.labels import inside, layout, lexical, names, text
from saelab.evals.labels.marks import Marks, anchors
from saelab.evals.labels.module import Module, NotPython

LABELS: dict[str, str] = {**lexical.LABELS, **names.LABELS, **text.LABELS, **layout.LABELS, **inside.LABELS}
MARKERS: tuple[Callable[[Module, Marks], None], ...] = (
    lexical.mark_lexemes,
    names.mark_names,
    text.mark_text,
    layout.mark_layout,
    inside.mark_inside,
)


def mark(source: str) -> Marks:
    """The spans of every label in a Python module. Raises NotPython when it is none."""
    module = Module(source)
    marks = Marks(tuple(LABELS), len(source))
    for marker in MARKERS:
        marker(module, marks)
    return marks


__all__ = ["LABELS", "Marks", "NotPython", "anchors", "mark"]
