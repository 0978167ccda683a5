"""Features choose rows: how many, which, and how they are told in evaluation."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from saelab.contracts import Batch
from saelab.errors import CheckpointError, ConfigError
from saelab.sae import VARIANTS, sae_config
from saelab.sae.variants.feature_choice import apportioned
from saelab.sae.variants.mutual_choice import zipf


def build(d_in: int = 2, d_sae: int = 2, **more) -> Any:
    cfg = sae_config({"variant": "feature_choice", "d_in": d_in, "d_sae": d_sae, "mutual_first": 0.0, **more})
    return VARIANTS["feature_choice"](cfg, torch.Generator().manual_seed(0))


def east_and_north(**more) -> Any:
    sae = build(k=1, alpha=0.0, **more)
    with torch.no_grad():
        sae.W_dec.copy_(torch.eye(2))
        sae.W_enc.copy_(torch.eye(2))
    return sae


X = torch.tensor([[9.0, 1.0], [5.0, 8.0], [7.0, 2.0], [1.0, 3.0]])


def test_each_feature_keeps_its_best_rows():
    assert east_and_north().encode(X).tolist() == [[9.0, 0.0], [0.0, 8.0], [7.0, 0.0], [0.0, 3.0]]


def test_thresholds_are_the_means_of_each_feature_s_last_smallest_kept_values():
    sae = east_and_north()
    sae.loss_terms(Batch(X, X), 0)  # keeps down to 7 and 3
    sae.times_kept.copy_(torch.tensor([19, 0]))  # with the next it is the 20th time: the mean is over the last two
    sae.loss_terms(Batch(X + torch.tensor([2.0, 1.0]), X), 1)  # 9 and 4
    assert sae.threshold.tolist() == [8.0, 4.0]
    assert sae.eval().encode(torch.tensor([[8.5, 2.5]])).tolist() == [[8.5, 0.0]]


def test_a_feature_that_kept_nothing_leaves_its_threshold():
    sae = east_and_north()
    sae.loss_terms(Batch(X, X), 0)
    away = X * torch.tensor([1.0, -1.0])
    sae.loss_terms(Batch(away, away), 1)
    assert sae.threshold.tolist() == [7.0, 3.0]
    assert sae.times_kept.tolist() == [2, 1]


def test_without_training_there_is_no_threshold():
    with pytest.raises(CheckpointError, match="never trained"):
        east_and_north().eval().encode(X)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_no_column_has_more_than_its_share_on_any_batch(alpha):
    sae = build(8, 24, k=2, alpha=alpha)
    for step in range(20):
        x = torch.randn(64, 8, generator=torch.Generator().manual_seed(step))
        m = sae.quotas(64)
        assert m.sum() == 2 * 64 and m.min() >= 1 and m.max() <= 64
        counts = (sae.encode(x) > 0).sum(dim=0)
        assert (counts <= m).all() and counts.sum() > 64
        sae.loss_terms(Batch(x, x), step)


def test_the_most_frequent_feature_gets_most():
    sae = build(8, 4, k=1, alpha=1.0, beta=0.0)
    sae.density = torch.tensor([0.1, 0.4, 0.2, 0.3])
    assert sae.quotas(25).tolist() == [3, 12, 4, 6]


def test_mutual_choice_comes_first_and_then_features_choose():
    sae = build(8, 24, k=2, mutual_first=0.5)
    sae.total_steps, x = 10, torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    sae.loss_terms(Batch(x, x), 4)
    assert (sae.encode(x) > 0).sum() == 2 * 64  # BatchTopK's budget
    sae.loss_terms(Batch(x, x), 5)
    assert ((sae.encode(x) > 0).sum(dim=0) <= sae.quotas(64)).all()


def test_shares_become_whole_numbers_by_largest_remainder():
    assert apportioned(torch.tensor([0.5, 0.3, 0.2]).double(), 9, most=9).tolist() == [4, 3, 2]  # 4.5, 2.7, 1.8
    assert apportioned(torch.tensor([0.98, 0.01, 0.01]).double(), 10, most=100).tolist() == [8, 1, 1]
    assert apportioned(torch.tensor([0.8, 0.1, 0.1]).double(), 10, most=6).tolist() == [6, 2, 2]
    assert apportioned(torch.tensor([0.6, 0.4]).double(), 9, most=4).tolist() == [4, 4]
    assert apportioned(torch.tensor([0.6, 0.3, 0.1]).double(), 2, most=4).tolist() == [1, 1, 0]


@given(st.integers(1, 300), st.floats(0, 2), st.floats(0, 20), st.integers(1, 40), st.integers(1, 64))
def test_whole_numbers_sum_to_the_budget_and_keep_both_limits(n, alpha, beta, k, rows):
    m = apportioned(zipf(n, alpha, beta), k * rows, rows)
    assert m.sum() == min(k * rows, n * rows)
    assert m.max() <= rows and m.min() >= (k * rows >= n)
    assert (m.diff() <= 0).all()


def test_a_batch_without_a_row_for_every_feature_is_refused():
    from saelab.config import settings
    from saelab.synthetic import SyntheticRows, bed
    from saelab.train import TrainConfig
    from saelab.train.plans import plans

    sae = {"variant": "feature_choice", "d_sae": 256, "k": 8}
    cfg = settings(TrainConfig, {"sae": sae, "train": {"batch": 16}, "out": "none"}, where="train")
    with pytest.raises(ConfigError, match=r"train.batch = 16.*at least 32 rows"):
        plans(cfg, SyntheticRows(bed({"bed": "easy"})))
