"""Features that are the labels tell them; shuffled labels are chance."""

import numpy as np
import pytest
from bed_rows import tree

from saelab.contracts import Silent
from saelab.evals import EVALS, Subject
from saelab.evals.sample import Sample
from saelab.evals.sparse_probing import probe
from saelab.evals.texts import text_samples, text_sets

sparse_probing = EVALS["sparse_probing"]
CFG = sparse_probing.Config()


@pytest.fixture(scope="module")
def tasks():
    """Every true feature of a bed as a label, 20 of them."""
    (_, a), (_, b) = tree(6000, 5, noise=0.1), tree(6000, 6, noise=0.1)
    return [probe(a, b, name, "syntax", CFG, np.random.default_rng(i)) for i, name in enumerate(a.names[:20])]


def test_one_feature_tells_its_own_label(tasks):
    assert [task.features[0] for task in tasks] == list(range(20))
    assert all(task.accuracy[1] == 1 for task in tasks)


def test_one_raw_dimension_does_not_and_the_whole_row_does(tasks):
    assert all(task.raw[1] < 0.95 for task in tasks)
    assert np.mean([task.dense for task in tasks]) > 0.98


def test_shuffled_labels_are_at_chance(tasks):
    assert np.mean([task.shuffled for task in tasks]) == pytest.approx(0.5, abs=0.02)
    assert all(abs(task.shuffled - 0.5) < 0.08 for task in tasks)


def test_more_features_do_not_tell_less(tasks):
    for task in tasks:
        assert task.accuracy[5] >= task.accuracy[1] - 0.01


def test_the_text_sets_have_texts_enough_and_no_text_twice():
    for one in text_sets():
        assert len(set(one.texts)) == len(one.texts)
        assert all(one.classes.count(label) >= 20 for label in set(one.classes))


def test_texts_are_means_over_their_tokens(identity, lm, store):
    (a, b), *_ = text_samples(Subject.of(identity, lm, store), Silent())
    assert isinstance(a, Sample) and a.labels.sum() == len(a.x) and len(a.x) == len(b.x)
    f = a.f.toarray()
    assert np.allclose(f[:, :32] - f[:, 32:], a.x, atol=1e-5)  # the identity's features add up to the row


def test_syntax_and_texts_are_probed_on_a_store(identity, lm, store):
    cfg = sparse_probing.Config.model_validate({"tokens": 400, "positives": 5})
    result = sparse_probing.run(Subject.of(identity, lm, store), cfg)
    assert {task.kind for task in result.tasks} == {"syntax", "text"}
    figures = {figure.metric: figure.value for figure in result.figures()}
    assert set(figures) == set(sparse_probing.METRICS)
    assert all(0 <= value <= 1 for value in figures.values())
