"""What a person writes of features: kept whole, shown as text, never lost to a damaged file."""

import json

import pytest

from saelab.errors import FeatureIndexError
from saelab.features import write_labels
from saelab.features.notes import LONGEST_NOTE, read_notes, write_note


@pytest.fixture
def noted(index):
    yield index
    for file in index.path.glob("notes*.json*"):
        file.unlink()


def test_a_label_of_ones_own_comes_before_a_rules(noted):
    write_labels(noted.path, {1: {"label": "comment", "f1": 0.9, "kind": "syntax"}})
    noted.note(1, "my words", "and a longer note")
    assert (noted.labels[1].text, noted.labels[1].kind, noted.labels[1].f1) == ("my words", "own", None)
    assert noted.automatic[1].text == "comment"
    assert noted.notebook.notes[1].text == "and a longer note"
    noted.note(1, "", "")
    assert noted.labels[1].text == "comment"
    assert noted.notebook.notes == {}
    (noted.path / "labels.json").unlink()


def test_labels_are_the_same_object_until_something_is_written(noted):
    before = noted.labels
    assert noted.labels is before
    noted.note(2, "x", "")
    assert noted.labels is not before


def test_hostile_text_is_kept_as_it_is(noted):
    noted.note(0, "<script>alert(1)</script>", "'; drop table features; --\n\u202e")
    assert noted.notebook.notes[0].label == "<script>alert(1)</script>"
    assert noted.notebook.notes[0].text == "'; drop table features; --\n\u202e"
    assert noted.search_words("alert") == (0,)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', '{"format": 9, "weights": "", "notes": {}}',
                                     '{"format": 1, "weights": "w", "notes": {"x": {}}}',
                                     '{"format": 1, "weights": "w", "notes": {"1": {"label": 3}}}'])  # fmt: skip
def test_a_damaged_file_is_told_of_and_never_written_over(noted, content):
    (noted.path / "notes.json").write_text(content, encoding="utf-8")
    assert "mend it, or move it away" in noted.notebook.problem
    assert noted.labels == {}
    with pytest.raises(FeatureIndexError, match="was not written"):
        noted.note(0, "a", "b")
    assert (noted.path / "notes.json").read_text(encoding="utf-8") == content


def test_notes_of_other_weights_are_put_aside_by_the_first_new_one(tmp_path):
    write_note(tmp_path, "old" * 8, 3, "of the old one", "")
    assert read_notes(tmp_path, "new" * 8).notes == {}
    assert "is of other weights" in read_notes(tmp_path, "new" * 8).problem
    write_note(tmp_path, "new" * 8, 4, "of the new one", "")
    assert list(read_notes(tmp_path, "new" * 8).notes) == [4]
    aside = json.loads((tmp_path / f"notes-{('old' * 8)[:16]}.json").read_text(encoding="utf-8"))
    assert aside["notes"]["3"]["label"] == "of the old one"


def test_a_note_that_is_too_long_and_a_feature_that_is_not_there_are_refused(noted):
    with pytest.raises(FeatureIndexError, match="5,001 characters"):
        noted.note(0, "", "x" * (LONGEST_NOTE + 1))
    with pytest.raises(FeatureIndexError, match="no feature 99"):
        noted.note(99, "a", "")


def test_the_feature_that_says_a_word_more_often_and_in_fewer_words_comes_first(noted):
    noted.note(0, "comment", "")
    noted.note(1, "comment", "and many other words that say nothing of the kind at all")
    noted.note(2, "string", "")
    assert noted.search_words("comment") == (0, 1)
    assert noted.search_words("comm STRI") == (2, 0, 1)  # the rarer word weighs more
    assert noted.search_words("nothing like it") == (1,)
    assert noted.search_words("%") == ()
    assert noted.search_words("   ") == ()
