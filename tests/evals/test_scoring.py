import numpy as np
import pytest

from saelab.errors import EvalError
from saelab.evals.labelled import Half
from saelab.evals.scoring import Entries, feature_blocks, neuron_blocks, score
from saelab.evals.syntax import Config, feature_labels, neurons_of, scored


def entries(dense):
    token, unit = np.nonzero(dense)
    return Entries.sorted(unit, token, dense[token, unit].astype(np.float32))


def test_a_feature_is_scored_above_the_threshold_that_suits_the_label():
    # it fires weakly on three tokens without the label, strongly on two with it: only a threshold tells them apart
    dense = np.zeros((10, 3))
    dense[:5, 1] = [1.0, 1.1, 1.2, 5.0, 6.0]
    label = np.arange(10)[None] // 3 == 1  # tokens 3, 4, 5
    scores = score(feature_blocks(entries(dense), entries(dense), 3), label, label)
    assert scores.f1_a[1, 0] == scores.f1_b[1, 0] == pytest.approx(2 * 2 / (2 + 3))
    assert 1.2 <= scores.threshold[1, 0] < 5.0
    assert (scores.precision[1, 0], scores.recall[1, 0]) == pytest.approx((1, 2 / 3))
    assert scores.f1_b[[0, 2], 0].tolist() == [0, 0]  # features that never fire


def test_the_threshold_is_chosen_on_one_half_and_scored_on_the_other():
    a, b = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([[0.0], [1.0], [2.0], [3.0]])
    label_a, label_b = np.array([[False, True, True, True]]), np.array([[False, False, False, True]])
    scores = score(feature_blocks(entries(a), entries(b), 1), label_a, label_b)
    assert scores.threshold[0, 0] == 0  # best on A, where every activation is right
    assert scores.f1_a[0, 0] == 1
    assert scores.f1_b[0, 0] == pytest.approx(2 * 1 / (3 + 1))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_neuron_is_scored_with_the_sign_that_suits_the_label(sign):
    x = np.zeros((100, 2), dtype=np.float32)
    x[:, 1] = -7 - np.arange(100) / 100  # its mean is far from zero, and the label is where it is a little off it
    x[:10, 1] += sign
    label = np.arange(100)[None] < 10
    scores = score(neuron_blocks(x, x), label, label)
    assert scores.f1_b[2 if sign > 0 else 3, 0] == 1
    assert scores.f1_b.shape == (4, 1)


def test_scores_are_those_of_a_count_token_by_token():
    random = np.random.default_rng(0)
    a, b = (np.maximum(0, random.normal(size=(60, 5)) - 0.5) for _ in range(2))
    y_a, y_b = random.random((3, 60)) < 0.3, random.random((3, 50)) < 0.3
    b = b[:50]
    scores = score(feature_blocks(entries(a), entries(b), 5), y_a, y_b)
    for unit in range(5):
        for label in range(3):
            threshold = scores.threshold[unit, label]
            for values, y, f1 in ((a, y_a, scores.f1_a), (b, y_b, scores.f1_b)):
                yes = values[:, unit].astype(np.float32) > threshold
                expected = 2 * (yes & y[label]).sum() / (yes.sum() + y[label].sum())
                assert f1[unit, label] == pytest.approx(expected, abs=1e-6)


def half(seed: int, n: int = 2000) -> Half:
    """Label 0 and feature 3 are the same tokens; label 1 is rare chance; everything else is noise."""
    random = np.random.default_rng(seed)
    labels = np.stack([random.random(n) < 0.1, random.random(n) < 0.06, np.arange(n) < 5])
    dense = np.where(random.random((n, 8)) < 0.2, random.random((n, 8)) + 0.1, 0.0)
    dense[:, 3] = labels[0] * (1 + random.random(n))
    return Half(labels, random.normal(size=(n, 4)).astype(np.float32), entries(dense))


def found(**changes):
    cfg = Config.model_validate(changes)
    a, b = half(0), half(1)
    return scored(a, b, neurons_of(a, b, cfg), 8, ("planted", "chance", "rare"), documents=2, cfg=cfg)


@pytest.fixture(scope="module")
def result():
    return found()


def test_a_planted_feature_is_found_with_f1_one(result):
    best = result.labels[0]
    assert (best.label, best.feature, best.f1, best.precision, best.recall) == ("planted", 3, 1, 1, 1)
    assert best.neuron_f1 < 0.4  # noise
    assert feature_labels(result)[3] == {"label": "planted", "kind": "syntax", "f1": 1, "precision": 1, "recall": 1}


def test_shuffled_labels_are_found_no_better_than_by_always_saying_yes(result):
    for one in result.labels:
        assert one.trivial_f1 == pytest.approx(2 * one.base_rate / (1 + one.base_rate))
        assert one.shuffled_f1 <= one.trivial_f1 + 0.05
    assert result.shuffled_excess < 0.2


def test_labels_with_too_few_tokens_are_left_out_and_counted(result):
    assert result.left_out == ("rare",)
    assert [one.label for one in result.labels] == ["planted", "chance"]


def test_the_summary_counts_what_the_table_shows(result):
    columns, rows = result.table()
    assert len(rows) == 2
    assert all(len(row) == len(columns) for row in rows)
    assert (result.good, result.good_beyond_trivial) == (1, 1)
    assert result.summary()[0].startswith("1 of 2 labels have a feature of F1 >= 0.8")
    assert result.to_json()["good"] == 1


def test_the_same_halves_give_the_same_result(result):
    assert found() == result


def test_no_label_with_enough_tokens_is_an_error():
    with pytest.raises(EvalError, match="no label has 5000 tokens in each half of the 4,000 read"):
        found(positives=5000)
