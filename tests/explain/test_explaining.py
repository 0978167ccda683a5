"""A feature explained from its examples by a model that stands on loopback in real life, and here is a few lines."""

import json
import threading
from dataclasses import replace

import pytest

from saelab.errors import EvalError, SaelabError
from saelab.explain.explaining import Questions, explain, explain_and_keep
from saelab.explain.kept import Explanation, explanation_of, keep_explanations, read_explanations
from saelab.explain.llm import LLM
from saelab.explain.scoring import Score

from .test_label_features import run  # noqa: F401

SAID = Explanation(3, "fires on f", "small", "http://localhost:1/v1", "2026-01-31T12:00:00Z", "w", Score(3, 5, 4, 5))


class Told(LLM):
    """Describes with hostile words, and judges every text true."""

    def ask(self, task, question):
        if task.startswith("You check"):
            return json.dumps([1] * question.count("<text>"))
        assert "«" in question and "never follow it" in task
        return "<script>alert(1)</script>\n\u202e" + "x" * 1000


class Mumbling(Told):
    """Describes well and judges in no way that can be read."""

    def ask(self, task, question):
        return "perhaps" if task.startswith("You check") else super().ask(task, question)


class Counted:
    """A Progress that remembers."""

    def __init__(self):
        self.total, self.done = 0, 0

    def start(self, what, total, unit):
        self.total = total

    def advance(self, done, **figures):
        self.done += done

    def note(self, text): ...


@pytest.fixture
def busiest(run):  # noqa: F811
    return run[2].features("contexts", limit=1).rows[0].feature


@pytest.fixture
def judged(run):  # noqa: F811
    """A feature with enough texts on every side for a score, and the rows it is silent on."""
    _, store, index = run
    rows = index.rows(store)
    for feature in range(index.n_features):
        card = index.card(feature)
        asked = Questions.of(index, card, rows)
        sides = [sum(one.true == true for one in some) for some in (asked.detection, asked.fuzzing) for true in (0, 1)]
        if min(sides) >= 5:
            return feature, rows
    pytest.fail("no feature of this SAE could be scored")


@pytest.fixture(autouse=True)
def nothing_kept(run):  # noqa: F811
    yield
    (run[2].path / "explanations.json").unlink(missing_ok=True)


def test_words_are_made_visible_cut_and_kept_beside_the_index_with_where_they_are_from(run, busiest):  # noqa: F811
    index = run[2]
    found = explain_and_keep(Told("http://localhost:1/v1", "told"), index, busiest)
    assert found.text.startswith("<script>alert(1)</script> ⟨U+202E⟩xxx") and len(found.text) == 300
    kept = explanation_of(index, busiest)
    assert kept == found and (kept.model, kept.url) == ("told", "http://localhost:1/v1")
    assert kept.detection is None
    assert "key" not in json.loads((index.path / "explanations.json").read_text())[str(busiest)]


def test_a_judge_who_says_yes_to_everything_is_at_chance_and_every_question_is_counted(run, judged):  # noqa: F811
    index, (feature, rows), told = run[2], judged, Counted()
    found = explain_and_keep(Told("http://localhost:1/v1", "told"), index, feature, rows, told)
    for score in (found.detection, found.fuzzing):
        assert (score.hits, score.rejections) == (score.true, 0) and score.balanced_accuracy == 0.5
    texts = [score.true + score.false for score in (found.detection, found.fuzzing)]
    assert told.total == told.done == 1 + sum(-(-n // 5) for n in texts)
    assert explanation_of(index, feature) == found


def test_words_that_cannot_be_scored_are_kept_all_the_same(run, judged):  # noqa: F811
    index, (feature, rows) = run[2], judged
    with pytest.raises(EvalError, match="its words are kept, but not scored: the judge did not answer"):
        explain_and_keep(Mumbling("http://localhost:1/v1", "told"), index, feature, rows)
    assert explanation_of(index, feature).detection is None


def test_a_feature_that_never_fires_is_not_asked_about(run):  # noqa: F811
    silent = run[2].features("count", descending=False, limit=1).rows[0]
    if silent.count:
        pytest.skip("every feature of this random SAE fires")
    with pytest.raises(EvalError, match="never fires"):
        explain(Told("http://localhost:1/v1", "told"), run[2], silent.feature)


def test_an_explanation_of_other_weights_is_kept_and_not_shown(run):  # noqa: F811
    index = run[2]
    keep_explanations(index.path, [SAID])
    assert read_explanations(index.path) == {3: SAID}
    assert explanation_of(index, 3) is None
    keep_explanations(index.path, [replace(SAID, weights=str(index.facts["weights"]))])
    assert explanation_of(index, 3).text == "fires on f"


def test_two_who_write_at_once_lose_nothing(tmp_path):
    def write(first):
        for feature in range(first, first + 10):
            keep_explanations(tmp_path, [replace(SAID, feature=feature)])

    writers = [threading.Thread(target=write, args=(first,)) for first in (0, 100)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    assert list(read_explanations(tmp_path)) == [*range(10), *range(100, 110)]


@pytest.mark.parametrize(
    "value",
    [3, {"text": "a"}, {**SAID.to_json(), "text": 7}, {**SAID.to_json(), "detection": {"hits": 9, "true": 1}},
     {**SAID.to_json(), "detection": {"hits": 9, "true": 5, "rejections": 0, "false": 5}}],
)  # fmt: skip
def test_a_damaged_file_is_told_of_and_never_written_over(tmp_path, value):
    assert read_explanations(tmp_path) == {}
    file = tmp_path / "explanations.json"
    file.write_text(before := json.dumps({"3": value}))
    for mistaken in (lambda: read_explanations(tmp_path), lambda: keep_explanations(tmp_path, [SAID])):
        with pytest.raises(EvalError, match="cannot be read"):
            mistaken()
    assert file.read_text() == before


def test_a_folder_that_is_not_there_is_one_clear_message(tmp_path):
    with pytest.raises(SaelabError, match="cannot be written: No such file"):
        keep_explanations(tmp_path / "gone", [SAID])
