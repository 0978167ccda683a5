"""Where a rule says yes, and which window of text a row is in."""

import numpy as np

from saelab.explain.detection import WINDOW, said, windows
from saelab.explain.families import Marks, Partition, token_families
from saelab.explain.text import Text


def text(tokens: list[int], contexts: list[int]) -> Text:
    """`contexts`: how many rows each has."""
    token = np.array(tokens)
    first = np.zeros(len(token), dtype=bool)
    first[np.cumsum([0, *contexts])[:-1]] = True
    before = np.where(first, -1, np.append(-1, token[:-1]))
    rows = np.arange(len(token))
    return Text(token, before, rows * 0, rows, first, rows % 2 == 1, ("a", "b", "c"))


def test_a_window_ends_with_its_context_or_after_32_tokens():
    found = windows(text([0] * 100, [40, 3, 57]))
    assert np.bincount(found).tolist() == [WINDOW, 8, 3, WINDOW, 25]
    assert (np.diff(found) >= 0).all()


def test_rules_of_tokens_say_yes_where_their_tokens_are():
    some = text([0, 1, 2, 1, 0, 1], [6])
    on, after, *_ = token_families(some, 3)
    assert isinstance(on, Partition)
    assert np.flatnonzero(said(on, (1, 2))).tolist() == [1, 2, 3, 5]
    assert np.flatnonzero(said(after, (1,))).tolist() == [2, 4]


def test_rules_of_marks_say_yes_where_one_of_them_is():
    other = np.array([False, True] * 3)
    marks = Marks.of("syntax", ["x", "y", "z"], [np.array([0, 1]), np.array([4]), np.array([5])], other)
    assert np.flatnonzero(said(marks, (0, 2))).tolist() == [0, 1, 5]
