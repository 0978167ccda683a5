"""Text that comes from a model or a file never becomes markup, and nothing in it stays invisible."""

import re

import pytest

from saelab.app.widgets import tokens

HOSTILE = ["<script>alert(1)</script>", "</span>", '"><img src=x onerror=alert(1)>', "&#x3c;", "&lt;", "' onclick='x"]


@pytest.mark.parametrize("text", HOSTILE)
def test_markup_in_a_token_is_shown_as_the_text_it_is(text):
    drawn = tokens.spans([text], [1.0], 1.0)
    inner = drawn.removeprefix('<span class="s16" data-v="1.000">').removesuffix("</span>")
    assert not re.search(r"[<>\"']", inner)
    assert "&lt;" in drawn or "&amp;" in drawn or "&#x27;" in drawn


def test_markup_in_a_note_cannot_leave_its_attribute():
    assert tokens.spans(["a"], [None], 1.0, notes=['"><b>']) == '<span data-v="&quot;&gt;&lt;b&gt;">a</span>'


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\n", "↵"),
        ("\t", "⇥"),
        ("\r", "␍"),
        ("\x00", "␀"),
        ("\x1b", "␛"),
        ("\x7f", "⟨U+007F⟩"),
        ("\u202e", "⟨U+202E⟩"),
        ("\u2066", "⟨U+2066⟩"),
        ("\u200b", "⟨U+200B⟩"),
        ("\ufeff", "⟨U+FEFF⟩"),
        ("\u2028", "⟨U+2028⟩"),
        ("\u00a0", "⟨U+00A0⟩"),
        ("a é 漢 😀", "a é 漢 😀"),
    ],
)
def test_what_cannot_be_seen_gets_a_sign_and_what_can_be_stays(text, seen):
    assert tokens.visible(text) == seen


def test_a_token_of_spaces_can_be_seen_in_a_table_and_quotes_stay_quotes_on_an_axis():
    assert tokens.named("    ") == "␣␣␣␣"
    assert tokens.named(" a") == " a"
    assert tokens.tick('"""<b>&') == '"""&lt;b&gt;&amp;'


def test_spaces_at_the_end_of_an_axis_label_go_and_a_token_of_spaces_is_seen():
    assert tokens.tick("\n    ") == "↵"
    assert tokens.tick("  ") == "␣␣"
    assert "<i>␣␣</i>" in tokens.changes("rises", [("  ", 7, 0.5)], "up")
    assert "<i>↵</i><i>␣</i>" in (drawn := tokens.changes("rises", [("\n ", 7, 0.5)], "up"))
    assert 'title="&quot;↵␣&quot;, token 7"' in drawn


def test_a_line_break_can_be_kept_beside_its_sign():
    assert tokens.spans(["a\n"], [0.0], 1.0, lines=True) == "<span>a<i>↵</i></span>\n"
    assert tokens.spans(["a\n"], [0.0], 1.0) == "<span>a<i>↵</i></span>"


def test_indentation_after_a_line_break_stands_on_the_next_line():
    drawn = tokens.spans(["\n\n  "], [1.0], 1.0, notes=["n"], lines=True)
    line = '<span class="s16" data-v="n">'
    assert drawn == f"{line}<i>↵</i></span>\n{line}<i>↵</i></span>\n{line}  </span>"


def test_a_stronger_activation_has_a_darker_step_and_zero_has_none():
    assert [tokens.step(value, 8.0) for value in (0.0, 0.001, 4.0, 8.0, 9.0, -4.0)] == [0, 1, 8, 16, 16, -8]


@pytest.mark.parametrize(("value", "maximum"), [(float("nan"), 1.0), (1.0, 0.0), (1.0, float("inf")), (1.0, -1.0)])
def test_a_number_that_is_none_has_no_step(value, maximum):
    assert tokens.step(value, maximum) == 0


def test_the_peak_is_marked():
    assert (
        tokens.spans(["a", "b"], [0.0, 2.0], 2.0, peak=1)
        == '<span>a</span><span class="s16 pk" data-v="2.000">b</span>'
    )


def test_markdown_and_streamlit_directives_are_taken_literally():
    assert tokens.markdown("**a** :red[b] $c$") == r"\*\*a\*\* \:red\[b\] \$c\$"


def test_document_names_are_escaped_too():
    assert "<i>0" not in tokens.strip(1.0, "<i>0.txt:3", "", "")
