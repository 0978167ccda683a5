"""`saelab explain` as a user types it, against a server on loopback."""

import json
import sys

import pytest

from saelab.cli import main
from saelab.explain.kept import read_explanations

from .serving import SECRET, asked_to_judge, believer, said
from .test_explaining import judged, nothing_kept  # noqa: F401
from .test_label_features import run  # noqa: F401


@pytest.fixture
def saelab(monkeypatch, capsys):
    """Runs the command line; how it ended, and what it said."""

    def ran(*words):
        monkeypatch.setattr(sys, "argv", ["saelab", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return ended.value.code, told.out + told.err

    return ran


def test_words_and_scores_are_kept_and_the_key_nowhere(run, judged, serve, named, saelab, tmp_path):  # noqa: F811
    index, (feature, _) = run[2], judged
    url, asked = serve(believer("<b>fires on f</b>"))
    named(url)
    words = ("explain", index.checkpoint, "--feature", feature, "--score", "--json", tmp_path / "said.json")
    code, told = saelab(*words)
    assert code == 0, told
    found = read_explanations(index.path)[feature]
    assert (found.text, found.model, found.url) == ("<b>fires on f</b>", "small", url)
    assert (found.detection.hits, found.detection.rejections) == (found.detection.true, 0)  # it says yes to every text
    assert (found.fuzzing.hits, found.fuzzing.rejections) == (0, found.fuzzing.false)  # and no to every mark
    assert "<b>fires on f</b>" in told and told.count("0.5000") == 2
    assert json.loads((tmp_path / "said.json").read_text()) == {str(feature): found.to_json()}
    bodies = [body for _, _, body in asked]
    assert [asked_to_judge(body) for body in bodies] == [False] + [True] * (len(bodies) - 1)
    assert all("<b>fires on f</b>" in body["messages"][1]["content"] for body in bodies[1:])
    assert "small says: <b>fires on f</b>" in saelab("show", index.checkpoint, feature)[1]
    written = [told, (index.path / "explanations.json").read_text(), (tmp_path / "said.json").read_text()]
    assert not any(SECRET in text for text in written)


def test_a_server_that_refuses_is_one_message_and_keeps_nothing(run, judged, serve, named, saelab):  # noqa: F811
    index, (feature, _) = run[2], judged
    named(serve((401, {}, ""))[0])
    code, told = saelab("explain", index.checkpoint, "--feature", feature)
    assert code == 2 and "was asked in vain: it answered 401" in told and "Traceback" not in told
    assert read_explanations(index.path) == {}


def test_words_of_a_judge_who_cannot_be_read_are_kept(run, judged, serve, named, saelab):  # noqa: F811
    index, (feature, _) = run[2], judged
    named(serve(said("fires on f"))[0])
    code, told = saelab("explain", index.checkpoint, "--feature", feature, "--score")
    assert code == 2 and "its words are kept, but not scored" in told
    assert read_explanations(index.path)[feature].text == "fires on f"
