"""A hand-built absorber scores exactly 1, an SAE that keeps the parent's feature exactly 0."""

import numpy as np
import pytest
import torch
from scipy import sparse

from saelab.contracts import Silent
from saelab.errors import EvalSkipped
from saelab.evals.absorption import _fraction, concept, f1_of, fractions, own_features
from saelab.evals.first_letter import word_samples
from saelab.evals.sample import Sample
from saelab.evals.subject import Subject
from saelab.sae import VARIANTS, sae_config

D, ROWS = 8, 8000
PARENT, CHILD, SIBLING = 0, 1, 2


def rows(absorbed: bool, seed: int) -> Sample:
    """Parent on half of the rows, with the child on a thirty-second of those, with a sibling on as many others.

    A more frequent child would raise F1 by more than 0.03 and count as one of the parent's own features. Absorbed: the
    child's feature writes parent and child, and the parent's is silent on its rows.
    """
    random = np.random.default_rng(seed)
    parent = random.random(ROWS) < 0.5
    kind = random.integers(32, size=ROWS)
    child, sibling = parent & (kind == 0), parent & (kind == 1)
    labels = np.stack([parent, child, sibling])
    x = labels.T.astype(np.float32) @ np.eye(D, dtype=np.float32)[:3]
    f = labels.T.astype(np.float32).copy()
    if absorbed:
        f[child, PARENT], f[child, CHILD] = 0, 2**0.5
    return Sample(("parent", "child", "sibling"), labels, x + 1e-3 * random.normal(size=x.shape), sparse.csr_matrix(f))


def dictionary(absorbed: bool):
    sae = VARIANTS["topk"](sae_config({"variant": "topk", "d_in": D, "d_sae": 3, "k": 3})).eval()
    W = torch.eye(D)[:3].clone()
    if absorbed:
        W[CHILD] = torch.tensor([2**-0.5, 2**-0.5, *[0.0] * 6])
    sae.W_dec.data = W
    return sae


@pytest.mark.parametrize("absorbed", [True, False])
def test_an_absorber_scores_one_on_its_own_rows_and_zero_elsewhere(absorbed):
    a, b = rows(absorbed, 0), rows(absorbed, 1)
    found = concept("syntax", "parent", ("child", "sibling"), a, b, dictionary(absorbed), 1e-3)
    assert found.features == (PARENT,)
    assert found.probe_f1 == 1
    assert found.children["child"] == (1.0 if absorbed else 0.0)
    assert found.children["sibling"] == 0.0
    share = b.label("child").sum() / b.label("parent").sum() if absorbed else 0
    assert found.absorption == pytest.approx(share) and found.full_absorption == pytest.approx(share)


def test_the_fraction_as_it_is_defined():
    assert _fraction(main=1.0, absorbing=5.0, whole=1.0) == 0  # the concept's own features do it all
    assert _fraction(main=0.5, absorbing=0.3, whole=1.0) == 0  # others carry less than 0.4 of it
    assert _fraction(main=-0.1, absorbing=0.9, whole=1.0) == 1
    assert _fraction(main=0.5, absorbing=0.9, whole=1.0) == pytest.approx(0.5)  # 0.5 of it was left to absorb
    assert _fraction(main=0.2, absorbing=0.6, whole=1.0) == pytest.approx(0.75)
    assert _fraction(main=0.0, absorbing=1.0, whole=-1.0) == 0


def test_only_the_three_best_of_those_that_point_along_the_probe_absorb():
    f = sparse.csr_matrix(np.array([[0.0, 1, 1, 1, 1, 9]], dtype=np.float32))
    cosines = np.array([1.0, 0.15, 0.14, 0.13, 0.12, 0.05])
    fraction, full = fractions(f, np.array([1.0]), cosines, np.array([0]))
    assert fraction[0] == 1  # 0.15 + 0.14 + 0.13 = 0.42 of 1
    assert full[0]  # 9 * 0.05 = 0.45, of a cosine of 0.025 or more
    fraction, _ = fractions(f, np.array([1.06]), cosines, np.array([0]))
    assert fraction[0] == 0  # 0.42 / 1.06 < 0.4; the fourth does not count, nor does the last


def test_a_second_feature_is_a_split_only_where_it_adds():
    y = np.arange(400) % 2 == 0
    left, right = y & (np.arange(400) < 200), y & (np.arange(400) >= 200)
    split = Sample(
        ("y",), y[None], np.zeros((400, 1)), sparse.csr_matrix(np.stack([left, right, y * 0], 1).astype(float))
    )
    assert sorted(own_features(split, y, 1e-3).tolist()) == [0, 1]
    whole = Sample(("y",), y[None], np.zeros((400, 1)), sparse.csr_matrix(np.stack([y, left, right], 1).astype(float)))
    assert own_features(whole, y, 1e-3).tolist() == [0]
    assert f1_of(np.array([True, True]), np.array([True, False])) == pytest.approx(2 / 3)


def test_a_model_without_words_is_not_asked_for_letters(identity, lm, store):
    with pytest.raises(EvalSkipped, match="first letters need 92 tokens of context; the model has 32"):
        word_samples(Subject.of(identity, lm, store), 1500, Silent())
