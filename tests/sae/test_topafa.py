"""top-AFA: a row's length says how many features it keeps."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from saelab.contracts import Batch
from saelab.errors import ConfigError
from saelab.sae import VARIANTS, sae_config


def build(d_in: int = 4, d_sae: int = 4, **more) -> Any:
    cfg = sae_config({"variant": "topafa", "d_in": d_in, "d_sae": d_sae, **more})
    return VARIANTS["topafa"](cfg, torch.Generator().manual_seed(0))


def identity(**more) -> Any:
    sae = build(**more)
    with torch.no_grad():
        sae.W_dec.copy_(torch.eye(4))
        sae.W_enc.copy_(torch.eye(4))
    return sae


def test_as_many_are_kept_as_the_row_is_long():
    sae = identity()
    x = torch.tensor([[4.0, 3.0, 2.0, 1.0]])  # length 5.48; codes of length 4, 5, 5.39 and 5.48
    assert sae.encode(x).tolist() == x.tolist()
    with torch.no_grad():
        sae.W_enc.mul_(1.2)  # 4.8, 6 and more: 6 is nearest
    torch.testing.assert_close(sae.encode(x), torch.tensor([[4.8, 3.6, 0.0, 0.0]]))


def test_k_is_that_of_a_plain_loop_on_a_thousand_rows():
    sae = build(16, 96).double()
    with torch.no_grad():
        sae.b_dec.normal_(generator=torch.Generator().manual_seed(1))
        sae.b_enc.normal_(generator=torch.Generator().manual_seed(2))
    x = 2 * torch.randn(1000, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    pre = ((x - sae.b_dec) @ sae.W_enc + sae.b_enc).detach()
    kept = sae.encode_sparse(x).l0.tolist()
    for row, length, found in zip(pre.tolist(), (x - sae.b_dec).norm(dim=1).tolist(), kept, strict=True):
        best, squares = (float("inf"), 0), 0.0
        for k, value in enumerate(sorted((v for v in row if v > 0), reverse=True), 1):
            squares += value * value
            best = min(best, (abs(squares**0.5 - length), k))
        assert found == best[1]
    assert len(set(kept)) > 10


def test_there_is_no_k():
    assert "k" not in build().cfg.model_dump()
    with pytest.raises(ConfigError, match="'k' is not a setting"):
        sae_config({"variant": "topafa", "d_in": 4, "d_sae": 8, "k": 2})


def test_the_norm_loss_by_hand():
    sae = identity(afa_coeff=2.0)
    x = torch.tensor([[3.0, -4.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])  # lengths 5 and 1, codes of length 3 and 1
    terms = sae.loss_terms(Batch(x, x), 0)
    assert terms["afa"].item() == pytest.approx(2.0 * (2**2 + 0) / 2 / 4)
    terms["afa"].backward()
    assert sae.b_enc.grad.tolist() == pytest.approx([-2.0 * 2 * 2 / 2 / 4, 0, 0, 0])  # longer would be better


def test_a_row_without_a_code_has_no_gradient_and_no_nan():
    sae = identity()
    x = -torch.ones(2, 4)
    torch.stack(list(sae.loss_terms(Batch(x, x), 0).values())).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in sae.parameters())


def test_a_transcoder_s_code_is_as_long_as_what_it_writes_is_expected_to_be():
    sae = build(d_out=9)
    x = torch.tensor([[3.0, 4.0, 0.0, 0.0]])
    assert sae.lengths(x).item() == pytest.approx(5 * (9 / 4) ** 0.5)
    folded = sae.fold(SimpleNamespace(centre=torch.ones(4), scale=0.5, target_centre=torch.zeros(9), target_scale=10.0))
    assert folded.lengths(2 * x + 1).item() == pytest.approx(sae.lengths(x).item() / 10)


def test_sae_lens_is_given_one_threshold_that_leaves_as_many():
    sae = build(16, 64)
    x = torch.randn(32, 16, generator=torch.Generator().manual_seed(0))
    sae.loss_terms(Batch(x, x), 0)
    threshold = sae.exported()["threshold"]
    assert threshold.shape == (64,) and threshold.unique().numel() == 1
    pre = (x - sae.b_dec) @ sae.W_enc + sae.b_enc
    assert (pre >= threshold - 1e-6).sum() == sae.encode_sparse(x).l0.sum()
