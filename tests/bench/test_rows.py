"""Rows to time on: as wide as asked for, normalised, and enough of them."""

import pytest
import torch

from saelab.bench.rows import draw


def test_noise_where_no_real_rows_have_that_width():
    rows = draw(None, None, 48, [64])
    assert rows.d_in == 48 and "no real rows" in rows.origin
    assert rows.train.norm(dim=1).mean().item() == pytest.approx(48**0.5, rel=1e-3)
    assert not torch.equal(rows.train[:64], rows.heldout[:64])


def test_a_large_batch_has_rows_enough():
    assert len(draw("gaussian", None, 8, [200_000]).train) == 200_000
