"""OrtSAE is BatchTopK with decoder rows kept apart."""

from typing import Any

import pytest
import torch

from saelab.contracts import Batch
from saelab.sae import VARIANTS, sae_config
from saelab.sae.variants import ortsae
from saelab.sae.variants.ortsae import dealt_out, nearest_in_chunks

CPU = torch.device("cpu")


def build(variant: str = "ortsae", d_in: int = 8, d_sae: int = 24, **more) -> Any:
    cfg = sae_config({"variant": variant, "d_in": d_in, "d_sae": d_sae, "k": 2, **more})
    return VARIANTS[variant](cfg, torch.Generator().manual_seed(0))


def steps(sae: Any, n: int) -> Any:
    adam = torch.optim.Adam(sae.parameters(), lr=1e-2)
    for step in range(n):
        x = torch.randn(64, 8, generator=torch.Generator().manual_seed(step))
        torch.stack(list(sae.loss_terms(Batch(x, x), step).values())).sum().backward()
        sae.project_gradients()
        adam.step()
        adam.zero_grad()
        sae.after_step(step)
    return sae


def test_without_weight_it_trains_to_batchtopk_s_bits():
    mine, theirs = steps(build(gamma=0.0), 20), steps(build("batchtopk"), 20)
    assert mine.state_dict().keys() == theirs.state_dict().keys()
    for name, tensor in theirs.state_dict().items():
        assert mine.state_dict()[name].equal(tensor), name


def by_hand() -> Any:
    """Rows at 0, 60 and 90 degrees: nearest cosines 1/2, cos 30 and cos 30."""
    sae = build(d_in=2, d_sae=3, gamma=2.0, every=3)
    with torch.no_grad():
        sae.W_dec.copy_(torch.tensor([[1.0, 0.0], [0.5, 0.75**0.5], [0.0, -1.0]]))
    return sae


def term(sae: Any, step: int) -> torch.Tensor:
    x = torch.randn(8, sae.cfg.d_in, generator=torch.Generator().manual_seed(0))
    return sae.loss_terms(Batch(x, x), step)["orthogonality"]


def test_the_term_by_hand_and_when_it_is_computed():
    sae = by_hand()
    assert [term(sae, step).item() for step in (0, 1, 3)] == [0, 0, 0]
    assert term(sae, 2).item() == pytest.approx(2 * 3 * (0.25 + 0.75 + 0.75) / 3)


def test_its_gradient_is_that_of_the_nearest_pairs():
    sae = by_hand()
    term(sae, 2).backward()
    W = sae.W_dec.detach().clone().requires_grad_()
    cosines = (W @ W.t()).square() - 2 * torch.eye(3)
    (2 * 3 * cosines.amax(dim=1).mean()).backward()
    torch.testing.assert_close(sae.W_dec.grad, W.grad)


def test_the_nearest_is_looked_for_in_the_chunk_alone(monkeypatch):
    W = torch.nn.functional.normalize(torch.randn(50, 6, generator=torch.Generator().manual_seed(0)), dim=1)
    chunks = dealt_out(50, 16, 3, CPU)
    near = (W @ W.t()).abs().fill_diagonal_(-1)
    for block in (1 << 22, 3):  # whole, and a row at a time
        monkeypatch.setattr(ortsae, "BLOCK", block)
        found = nearest_in_chunks(W, chunks)
        for chunk in chunks:
            assert found[chunk].equal(chunk[near[chunk][:, chunk].argmax(dim=1)])


def test_features_are_dealt_out_evenly_at_random_and_the_same_for_the_same_step():
    chunks = dealt_out(50, 16, 3, CPU)
    assert sorted(len(chunk) for chunk in chunks) == [12, 12, 13, 13]
    assert sorted(torch.cat(chunks).tolist()) == list(range(50))
    assert torch.cat(chunks).equal(torch.cat(dealt_out(50, 16, 3, CPU)))
    assert not torch.cat(chunks).equal(torch.cat(dealt_out(50, 16, 4, CPU)))


def test_it_keeps_rows_apart():
    def nearest(sae: Any) -> torch.Tensor:
        return (sae.W_dec @ sae.W_dec.t()).abs().fill_diagonal_(0).amax(dim=1).mean()

    assert nearest(steps(build(gamma=5.0), 200)) < 0.8 * nearest(steps(build(gamma=0.0), 200))


def test_one_feature_has_no_other():
    sae = VARIANTS["ortsae"](sae_config({"variant": "ortsae", "d_in": 3, "d_sae": 1, "k": 1}))
    assert term(sae, 4).item() == 0
