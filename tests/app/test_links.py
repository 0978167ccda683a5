"""What an address says wrongly becomes a default and a note; what it says rightly comes back as it was."""

from pathlib import Path

import pytest

from saelab.app.catalogue import Choice
from saelab.app.widgets import links

KNOWN = [Choice("a", "topk", Path("a/index/topk")), Choice("b", "relu", Path("b/index/relu"))]


def test_a_feature_that_exists_is_taken_without_a_word():
    assert links.feature("3", 4) == (3, None)
    assert links.feature(None, 4, default=2) == (2, None)


@pytest.mark.parametrize("raw", ["4", "-1", "x", "", "1.5", "9" * 30, "<script>", "٣"])
def test_a_feature_that_does_not_exist_becomes_the_default_and_a_note(raw):
    chosen, note = links.feature(raw, 4, default=1)
    assert chosen == 1
    assert "features 0 to 3" in note


def test_features_are_read_as_people_type_them():
    assert links.features("12, 4  4;7", 20, 8) == ([12, 4, 7], None)
    assert links.features("", 20, 8) == ([], None)
    assert "At most 2" in links.features("1 2 3", 20, 2)[1]
    assert links.features("1, 99, x", 20, 8) == ([1], "No such feature: 99, x. There are features 0 to 19.")


def test_a_number_out_of_bounds_and_a_word_nobody_knows_become_defaults():
    assert links.number("seed", "7", 0.0, 9.0, 0.0) == (7.0, None)
    assert links.number("seed", "70", 0.0, 9.0, 1.0)[0] == 1
    assert links.one_of("mode", "clamp", ("add", "clamp")) == ("clamp", None)
    assert links.one_of("mode", "explode", ("add", "clamp"))[0] == "add"


def test_a_text_too_long_is_cut_and_said_to_be():
    assert links.text("abc", "", 3) == ("abc", None)
    cut, note = links.text("abcd", "", 3)
    assert cut == "abc"
    assert "cut" in note


def test_an_sae_is_found_by_its_run_its_name_or_both():
    assert links.sae(None, "relu", KNOWN)[0] == KNOWN[1]
    assert links.sae("b", None, KNOWN)[0] == KNOWN[1]
    assert links.sae(None, None, KNOWN) == (KNOWN[0], None)
    chosen, note = links.sae("b", "topk", KNOWN)
    assert chosen == KNOWN[0]
    assert "b/topk" in note
