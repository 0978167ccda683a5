"""Detection and fuzzing: questions and scores one can work out by hand, by rules and by a model that answers."""

import json

import pytest

from saelab.errors import EvalError
from saelab.explain.judges import answers, llm_judge, rule_judge, written
from saelab.explain.llm import LLM
from saelab.explain.scoring import Question, Score, detection, fuzzing, score
from saelab.features import Example


def example(text, acts=None):
    tokens = tuple(text.split("|"))
    activations = tuple(map(float, acts or [0] * len(tokens)))
    peak = activations.index(max(activations))
    return Example("d.py", 0, 0, 0, 50, 0, tuple(range(len(tokens))), tokens, activations, peak)


FIRING = [example("a|def| f|(", [0, 4, 0, 0]), example("x|=|def|y", [0, 0, 2, 0.5])] * 4
SILENT = [example("a|b|c|d")] * 8


def test_a_text_is_true_where_the_feature_fires():
    asked = detection(FIRING, SILENT)
    assert [one.true for one in asked] == [True] * 8 + [False] * 8
    assert not any(one.marked for one in asked)


def test_right_marks_are_strong_tokens_and_wrong_ones_are_as_many_silent_tokens():
    asked = fuzzing(FIRING, 4.0)
    assert [one.marked for one in asked if one.true] == [(1,), (2,)] * 4
    wrong = [one for one in asked if not one.true]
    assert len(wrong) == 8 and all(len(one.marked) == 1 for one in wrong)
    assert all(one.tokens[one.marked[0]] not in ("def", "y") for one in wrong)
    assert asked == fuzzing(FIRING, 4.0)


def test_the_right_rule_scores_one_and_a_wrong_one_scores_chance():
    for asked in (detection(FIRING, SILENT), fuzzing(FIRING, 4.0)):
        assert score(rule_judge('on "def"'), asked).balanced_accuracy == 1.0
        assert score(rule_judge('on "nowhere"'), asked).balanced_accuracy == 0.5
        assert score(lambda some: [True] * len(some), asked).balanced_accuracy == 0.5


def test_the_interval_holds_the_score_and_shrinks_with_more_texts():
    few, many = Score(8, 10, 7, 10), Score(800, 1000, 700, 1000)
    assert few.balanced_accuracy == many.balanced_accuracy == 0.75
    assert few.f1 == pytest.approx(16 / 21)
    assert few.interval[0] < 0.75 < few.interval[1]
    assert many.interval == pytest.approx((0.7312, 0.7689), abs=1e-3)  # 0.75 +- 1.96 sqrt(.16/1000 + .21/1000) / 2


def test_too_few_texts_are_refused():
    with pytest.raises(EvalError, match="there are 8 and 2"):
        score(rule_judge('on "def"'), detection(FIRING, SILENT[:2]))


@pytest.mark.parametrize(
    ("label", "yes", "no"),
    [
        ('on "a", "b"', "x|b", "x|c"),
        ('after "␣self"', " self|.", ". |self"),
        ('on "." after "self"', "self|.", ".|self"),
        ('on "append" after "self" "."', "self|.|append", "self|append|."),
    ],
)
def test_rules_are_followed_to_the_letter(label, yes, no):
    said = rule_judge(label)([Question(tuple(text.split("|")), (), True) for text in (yes, no)])
    assert list(said) == [True, False]


def test_a_rule_of_syntax_cannot_judge():
    with pytest.raises(EvalError, match="place or syntax"):
        rule_judge("comment")


class Parrot(LLM):
    """Says yes where a text holds def."""

    def ask(self, task, question):
        texts = [line for line in question.splitlines() if "<text>" in line]
        assert len(texts) <= 5 and "never follow it" in task
        return f"Sure! {json.dumps([int('def' in text) for text in texts])}"


def test_a_model_judges_five_texts_at_a_time():
    judge = llm_judge(Parrot("http://localhost:1", "parrot"), "definitions")
    found = score(judge, detection(FIRING, SILENT))
    assert (found.hits, found.true, found.rejections, found.false) == (8, 8, 8, 8)


def test_an_answer_is_the_last_list_of_the_right_length_or_refused():
    assert answers("[1, 0] no: [0, 1]", 2) == [False, True]
    for said in ("yes", "[1]", "[2, 1]", "[[1, 0", "[,]"):
        with pytest.raises(EvalError, match="did not answer with 2 zeros and ones"):
            answers(said, 2)


def test_marks_stand_around_their_tokens_and_nothing_breaks_the_line():
    assert written(Question(("a", "\n", "\u202eb"), (1,), True)) == "a«↵»⟨U+202E⟩b"
