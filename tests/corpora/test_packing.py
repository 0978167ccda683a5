import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saelab.corpora import Context, Document, contexts
from saelab.errors import ConfigError


def encode(text):
    return [ord(letter) for letter in text]


def pack(texts, length, bos, packing):
    documents = [Document(str(i), text) for i, text in enumerate(texts)]
    return [(c.ids, c.doc, c.pos) for c in contexts(documents, encode, length, bos, packing)]


A, B = ord("a"), ord("b")


def test_separate_contexts_start_with_bos_and_never_cross_documents():
    assert pack(["aaa", "b"], 3, 0, "separate") == [
        ([0, A, A], [-1, 0, 0], [-1, 0, 1]),
        ([0, A], [-1, 0], [-1, 2]),
        ([0, B], [-1, 1], [-1, 0]),
    ]


def test_concatenated_contexts_run_on_with_a_bos_between_documents():
    assert pack(["aaa", "bb"], 4, 0, "concat") == [
        ([0, A, A, A], [-1, 0, 0, 0], [-1, 0, 1, 2]),
        ([0, B, B], [-1, 1, 1], [-1, 0, 1]),
    ]
    assert pack(["a", "bb"], 4, 0, "concat") == [
        ([0, A, 0, B], [-1, 0, -1, 1], [-1, 0, -1, 0]),
        ([0, B], [-1, 1], [-1, 1]),
    ]


def test_without_bos_nothing_is_added_and_a_single_token_left_over_is_dropped():
    assert pack(["aaa", "b"], 2, None, "separate") == [([A, A], [0, 0], [0, 1])]
    assert pack(["aaa", "b"], 2, None, "concat") == [([A, A], [0, 0], [0, 1]), ([A, B], [0, 1], [2, 0])]


def test_an_empty_document_keeps_its_number_and_adds_no_bos():
    assert pack(["a", "", "b"], 9, 0, "concat") == [([0, A, 0, B], [-1, 0, -1, 2], [-1, 0, -1, 0])]
    assert pack(["", "b"], 9, 0, "separate") == [([0, B], [-1, 1], [-1, 0])]


@pytest.mark.parametrize("packing", ["separate", "concat"])
@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text("ab", max_size=9), max_size=5), length=st.integers(2, 6), bos=st.sampled_from([None, 0]))
def test_contexts_hold_every_token_once_in_order(packing, texts, length, bos):
    packed = [Context(*c) for c in pack(texts, length, bos, packing)]
    assert all(2 <= len(c.ids) <= length and (bos is None or c.ids[0] == bos) for c in packed)
    rows = [row for c in packed for row in zip(c.doc, c.pos, c.ids, strict=True) if row[0] >= 0]
    every = [(d, p, ord(letter)) for d, text in enumerate(texts) for p, letter in enumerate(text)]
    assert rows == (every if bos is not None else [row for row in every if row in rows])
    assert len(every) - len(rows) <= (0 if bos is not None else len(texts) if packing == "separate" else 1)


def test_an_unknown_packing_and_a_context_too_short_are_refused():
    with pytest.raises(ConfigError, match="Packings are: separate, concat"):
        pack(["a"], 4, 0, "dense")
    with pytest.raises(ConfigError, match="The least is 2"):
        pack(["a"], 1, 0, "concat")
