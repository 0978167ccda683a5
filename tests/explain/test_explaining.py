"""A feature explained from its examples by a model that stands on loopback in real life, and here is a few lines."""

import json

import pytest

from saelab.errors import EvalError
from saelab.explain.explaining import explain, keep_explanations, read_explanations
from saelab.explain.llm import LLM

from .test_label_features import run  # noqa: F401


class Told(LLM):
    """Describes with hostile words, and judges every text true."""

    def ask(self, task, question):
        if task.startswith("You check"):
            return json.dumps([1] * question.count("<text>"))
        assert "«" in question and "never follow it" in task
        return "<script>alert(1)</script>\n\u202e" + "x" * 1000


@pytest.fixture
def busiest(run):  # noqa: F811
    return run[2].features("contexts", limit=1).rows[0].feature


def test_words_are_made_visible_cut_and_kept_beside_the_index_with_where_they_are_from(run, busiest):  # noqa: F811
    index = run[2]
    found = explain(Told("http://localhost:1/v1", "told"), index, busiest)
    assert found.text.startswith("<script>alert(1)</script> ⟨U+202E⟩xxx") and len(found.text) == 300
    keep_explanations(index.path, [found])
    kept = read_explanations(index.path)[str(busiest)]
    assert (kept["text"], kept["model"], kept["url"]) == (found.text, "told", "http://localhost:1/v1")
    assert kept["detection"] is None and "key" not in kept


def test_a_feature_that_never_fires_is_not_asked_about(run):  # noqa: F811
    silent = run[2].features("count", descending=False, limit=1).rows[0]
    if silent.count:
        pytest.skip("every feature of this random SAE fires")
    with pytest.raises(EvalError, match="never fires"):
        explain(Told("http://localhost:1/v1", "told"), run[2], silent.feature)


def test_a_damaged_file_is_told_of(tmp_path):
    assert read_explanations(tmp_path) == {}
    (tmp_path / "explanations.json").write_text('{"a": 3}')
    with pytest.raises(EvalError, match="cannot be read"):
        read_explanations(tmp_path)
