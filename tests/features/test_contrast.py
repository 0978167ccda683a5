"""Two sets of texts: effect sizes, p and q against numbers worked out by hand and against scipy."""

import numpy as np
import pytest
from scipy import stats

from saelab.errors import CorpusError, FeatureIndexError
from saelab.features import FiringFeature, TextActivations, TokenFeature, contrast, split_texts
from saelab.features.contrasting import compared, read_texts
from saelab.sae import SAE


def texts(*maxima: dict[int, float]) -> tuple[TextActivations, ...]:
    """Texts of one token, each with the features that fire on it."""
    return tuple(
        TextActivations("x", (0,), ("x",), ((0, 1),),
                        (tuple(TokenFeature(feature, act) for feature, act in one.items()),),
                        tuple(FiringFeature(feature, act, act, 1, 0, None, None) for feature, act in one.items()))
        for one in maxima
    )  # fmt: skip


def by_feature(found):
    return {one.feature: one for one in found.features}


def test_a_feature_of_one_set_alone_is_found_with_the_smallest_possible_p():
    found = compared(texts({7: 1.0}, {7: 2.0}, {7: 3.0}), texts({}, {}, {}), {})
    one = by_feature(found)[7]
    assert found.exact
    assert (one.rate_a, one.rate_b, one.difference, one.auc, one.rank_biserial) == (1.0, 0.0, 1.0, 1.0, 1.0)
    assert one.p == pytest.approx(2 / 20)  # of the 20 ways to deal six texts, this and its mirror
    assert (one.best_a, one.best_b, one.mean_a) == (2, None, 2.0)


def test_ties_count_half_and_no_effect_is_one_half():
    one = by_feature(compared(texts({1: 1.0}, {1: 1.0}), texts({1: 1.0}, {1: 1.0}), {}))[1]
    assert (one.auc, one.p) == (0.5, 1.0)
    halfway = by_feature(compared(texts({1: 1.0}, {}), texts({}, {}), {}))[1]
    assert halfway.auc == 0.75  # of four pairs one is won and three are tied


def test_q_is_benjamini_and_hochbergs():
    a = texts(*({1: 1.0, 2: float(i % 2)} if i % 2 else {1: 1.0} for i in range(4)))
    found = compared(a, texts({2: 1.0}, {}, {2: 1.0}, {}), {})
    first, second = (by_feature(found)[feature] for feature in (1, 2))
    assert first.p == pytest.approx(2 / 70)
    assert second.p == 1.0
    assert (first.q, second.q) == (pytest.approx(2 * 2 / 70), 1.0)
    assert found.significant(0.06) == 1
    assert found.significant(0.05) == 0


def test_exact_p_values_are_those_of_scipy_where_there_are_no_ties():
    random = np.random.default_rng(0)
    a, b = random.permutation(11)[:5] + 1.0, None
    b = np.setdiff1d(np.arange(1, 12), a).astype(float)
    one = by_feature(compared(texts(*({3: float(x)} for x in a)), texts(*({3: float(x)} for x in b)), {}))[3]
    known = stats.mannwhitneyu(a, b, method="exact")
    assert one.p == pytest.approx(known.pvalue)
    assert one.auc == pytest.approx(known.statistic / (len(a) * len(b)))


def test_many_texts_are_tested_by_the_normal_approximation():
    random = np.random.default_rng(1)
    a, b = random.exponential(2.0, 30), random.exponential(1.0, 30)
    found = compared(texts(*({3: float(x)} for x in a)), texts(*({3: float(x)} for x in b)), {})
    assert not found.exact
    assert by_feature(found)[3].p == pytest.approx(stats.mannwhitneyu(a, b, method="asymptotic").pvalue)


def test_chance_alone_is_seldom_called_a_difference():
    random = np.random.default_rng(2)
    deal = [{f: float(random.exponential()) for f in range(200) if random.random() < 0.5} for _ in range(40)]
    found = compared(texts(*deal[:20]), texts(*deal[20:]), {})
    assert len(found.features) == 200
    assert found.significant(0.05) <= 3


def test_rankings_put_the_largest_effect_first():
    found = compared(texts({1: 1.0, 2: 1.0}, {1: 1.0, 2: 2.0}), texts({2: 3.0}, {2: 4.0, 1: 9.0}), {})
    assert [one.feature for one in found.ranking("difference")] == [1, 2]  # in all against half; in all of both
    assert [one.feature for one in found.ranking("effect")] == [2, 1]  # all of B above all of A; half and half
    with pytest.raises(FeatureIndexError, match="cannot be ranked by 'size'"):
        found.ranking("size")


def test_texts_that_fire_nothing_give_an_empty_answer():
    assert compared(texts({}, {}), texts({}, {}), {}).features == ()


def test_a_paste_is_split_where_it_was_asked():
    assert split_texts("a\n\nb\nc\n", "line") == ["a", "b", "c"]
    assert split_texts("a\nb\n\n \n\nc", "paragraph") == ["a\nb", "c"]


def test_a_set_of_one_text_and_a_file_of_bytes_are_refused(tmp_path, planted, unembedding):
    with pytest.raises(CorpusError, match="set B has 1 text"):
        contrast(unembedding, SAE.load(planted[0]), ["a", "b"], ["c"])
    (tmp_path / "x.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CorpusError, match="cannot be read as UTF-8"):
        read_texts(tmp_path / "x.txt", "line")
