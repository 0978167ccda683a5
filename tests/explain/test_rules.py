"""Rules on a text and features whose best rules can be worked out by hand."""

import numpy as np
import pytest

from saelab.explain.choose import choose, measure
from saelab.explain.families import Marks, Partition, place_family, token_families
from saelab.explain.text import Text, halved
from saelab.features.firing import Firing

STRINGS = ("def", " f", "(", ")", ":", "\n", "    ", "return", " x", "self", ".")
LINE = [0, 1, 2, 3, 4, 5, 6, 7, 8, 5]  # def f():↵    return x↵
DOCUMENTS = 20


def text() -> Text:
    """Twenty documents of the same ten tokens, one context each; every other one is in half B."""
    n = len(LINE)
    token = np.array(LINE * DOCUMENTS)
    pos = np.tile(np.arange(n), DOCUMENTS)
    doc = np.repeat(np.arange(DOCUMENTS), n)
    before = np.where(pos > 0, np.append(-1, token[:-1]), -1)
    return Text(token, before, doc, pos, pos == 0, doc % 2 == 1, STRINGS)


def firing(where, act=lambda row: 1.0) -> Firing:
    """Fires on these rows of the text, strongest first."""
    rows = np.array(sorted(where, key=lambda row: (-act(row), row)), dtype=np.int64)
    return Firing(0, rows, np.array([act(row) for row in rows.tolist()], dtype=np.float32))


def best(fires: Firing, least: int = 5):
    own = text()
    families = [*token_families(own, 6), place_family(own)]
    other = own.other[fires.rows]
    a, b = (Firing(0, fires.rows[half], fires.acts[half]) for half in (~other, other))
    rule = choose(a, families, len(own) // 2, least, b)
    return (None, None) if rule is None else (rule.family.words(rule.keys), measure(rule, b, len(own) // 2))


def rows_of(*tokens):
    return [row for row, token in enumerate(LINE * DOCUMENTS) if token in tokens]


def test_a_feature_of_one_token_is_named_by_it():
    words, seen = best(firing(rows_of(0)))
    assert words == 'on "def"'
    assert (seen.f1, seen.precision, seen.recall, seen.fires, seen.says) == (1.0, 1.0, 1.0, 10, 10)


def test_a_feature_of_several_tokens_is_named_by_all_of_them():
    words, seen = best(firing(rows_of(2, 4)))
    assert sorted(words.removeprefix("on ").split(", ")) == ['"("', '":"']
    assert seen.f1 == 1.0


def test_a_feature_of_one_token_where_it_follows_another_is_named_by_both():
    after_colon = [row for row in rows_of(5) if row % len(LINE) == 5]  # each line has a second break
    words, seen = best(firing(after_colon))
    assert words == 'after ":"'
    assert seen.f1 == 1.0


def test_a_feature_that_fires_weakly_everywhere_is_described_above_a_threshold():
    words, seen = best(firing(range(len(LINE) * DOCUMENTS), lambda row: 10.0 if LINE[row % 10] == 7 else 1.0))
    assert words == 'on "return"'
    assert (seen.fires, seen.f1) == (10, 1.0)
    assert seen.covers == pytest.approx(100 / 190)  # ten tokens at 10, ninety at 1


def test_a_feature_that_always_fires_has_no_rule():
    assert best(firing(range(len(LINE) * DOCUMENTS))) == (None, None)


def test_a_feature_that_fires_too_rarely_has_no_rule():
    assert best(firing(rows_of(0)[:8]), least=5) == (None, None)


def test_what_holds_on_one_half_alone_is_found_out_on_the_other():
    in_a = [row for row in rows_of(0) if not text().other[row]]
    words, seen = best(firing([*in_a, *(row for row in rows_of(8) if text().other[row])]))
    assert words == 'on "def"'
    assert (seen.both, seen.f1, seen.precision, seen.recall) == (0, 0.0, 0.0, 0.0)


def test_half_of_the_tokens_a_rule_names_gives_half_the_precision():
    own = text()
    family = Partition.of("token", own.token, own.other, 6, 1, str)
    fires = firing([row for row in rows_of(0) if row // len(LINE) < 10])  # documents 0 to 9, five in each half
    other = own.other[fires.rows]
    a, b = (Firing(0, fires.rows[half], fires.acts[half]) for half in (~other, other))
    seen = measure(choose(a, [family], len(own) // 2, 5, b), b, len(own) // 2)
    assert (seen.precision, seen.recall, seen.f1) == (0.5, 1.0, pytest.approx(2 / 3))


def test_places_are_told_by_line_breaks():
    family = place_family(text())
    places = {label: set(np.flatnonzero(family.has[:10, i].toarray().ravel())) for i, label in enumerate(family.labels)}
    assert places["a line break"] == {5, 9}
    assert places["indentation"] == {6}
    assert places["first token of a line"] == {0, 7}
    assert places["first token of a text"] == {0}
    assert places["one of the first 4 tokens of a context"] == {0, 1, 2, 3}


def test_a_token_may_have_several_marks():
    family = Marks.of("syntax", ("name", "keyword"), [np.array([0, 1]), np.array([1])], np.array([False, True]))
    keys, table = family.table(np.array([1]), np.array([0]), 1)
    assert dict(zip(keys.tolist(), table[:, 0].tolist(), strict=True)) == {0: 1.0, 1: 1.0}
    assert family.totals.tolist() == [[1.0, 0.0], [1.0, 1.0]]


def test_signs_and_spaces_in_words_are_seen():
    assert text().shown(1) == '"␣f"'
    assert text().shown(5) == '"↵"'


def test_documents_are_dealt_to_the_halves_in_turn():
    half = halved({i: f"{i}.py" for i in range(11)})
    assert sorted(half.values()) == [False] * 6 + [True] * 5
    assert half == halved({i: f"{i}.py" for i in reversed(range(11))})
