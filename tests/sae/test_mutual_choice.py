"""Mutual Choice is BatchTopK, but for whom AuxK trains."""

from typing import Any

import pytest
import torch

from saelab.contracts import Batch
from saelab.errors import ConfigError
from saelab.sae import VARIANTS, sae_config
from saelab.sae.variants.mutual_choice import zipf


def build(variant: str = "mutual_choice", d_in: int = 8, d_sae: int = 4, **more) -> Any:
    cfg = sae_config({"variant": variant, "d_in": d_in, "d_sae": d_sae, **more})
    return VARIANTS[variant](cfg, torch.Generator().manual_seed(0))


def rows(n: int, d: int = 8, seed: int = 1) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_it_trains_to_batchtopk_s_bits():
    both = [build(variant, d_sae=24, k=2) for variant in ("mutual_choice", "batchtopk")]
    for sae in both:
        sae.dead_after = 100
        adam = torch.optim.Adam(sae.parameters(), lr=1e-2)
        for step in range(30):
            x = rows(64, seed=step)
            torch.stack(list(sae.loss_terms(Batch(x, x), step).values())).sum().backward()
            sae.project_gradients()
            adam.step()
            adam.zero_grad()
            sae.after_step(step)
    mine, theirs = both
    for name, tensor in theirs.state_dict().items():
        assert mine.state_dict()[name].equal(tensor), name
    for training in (True, False):
        x = rows(99, seed=77)
        assert mine.train(training).encode(x).equal(theirs.train(training).encode(x))


def test_zipf_s_law_by_hand():
    assert zipf(3, alpha=1.0, beta=0.0).tolist() == pytest.approx([6 / 11, 3 / 11, 2 / 11])
    assert zipf(2, alpha=2.0, beta=1.0).tolist() == pytest.approx([9 / 13, 4 / 13])
    assert zipf(4, alpha=0.0, beta=7.0).tolist() == [0.25] * 4


def test_a_feature_is_underused_below_a_share_of_what_its_rank_should_have():
    sae = build(k=1, alpha=1.0, beta=0.0, underused=0.5)  # ranks should have 12, 6, 4 and 3 of 25
    density = torch.tensor([0.05, 0.5, 0.07, 0.4])  # ranks 4, 1, 3, 2; their halves are .06, .24, .08 and .12
    assert sae.underused(density).tolist() == [True, False, True, False]


def test_densities_are_the_mean_of_the_first_batches():
    sae = build(d_in=2, k=1)
    with torch.no_grad():
        sae.W_enc.copy_(torch.tensor([[1.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, -1.0]]))
    sae.observe(sae.sparse(torch.tensor([[2.0, 0.0], [2.0, 0.0]])))
    sae.observe(sae.sparse(torch.tensor([[2.0, 0.0], [0.0, 2.0]])))
    assert sae.density.tolist() == [0.75, 0.25, 0.0, 0.0]


@pytest.mark.parametrize(
    ("aux_on", "batches", "wanted"),
    [
        ("dead", 200, [True, False, False, False]),
        ("underused", 99, [True, False, False, False]),  # densities have not settled
        ("underused", 100, [True, False, True, False]),  # half of what all should have is 0.25
    ],
)
def test_auxk_trains_the_dead_or_the_underused_as_well(aux_on, batches, wanted):
    sae = build(k=2, aux_on=aux_on, alpha=0.0, underused=0.5)
    sae.dead_after, sae.tokens_since_fired[0] = 10**6, 10**7
    sae.density, sae.batches_seen = torch.tensor([0.3, 0.9, 0.01, 0.9]), torch.tensor(batches)
    assert sae.neglected().tolist() == wanted


def test_the_underused_get_auxk_s_gradient_at_auxk_s_weight():
    reached = []
    for aux in (0.5, 1.0):
        sae = build(d_sae=24, k=2, aux_on="underused", aux=aux, alpha=0.0, underused=0.01)
        sae.density[:20], sae.batches_seen = 0.1, torch.tensor(500)
        with torch.no_grad():
            sae.b_enc[20:] -= 0.5  # outdone by the others, not silent
        sae.loss_terms(Batch(rows(64), rows(64)), 0)["aux"].backward()
        reached.append(sae.W_dec.grad)
    used = sae.density >= 0.01 * 2 / 24
    assert used[:20].all() and not reached[0][used].any()
    assert (reached[0][~used].norm(dim=1) > 0).any()
    torch.testing.assert_close(reached[1], 2 * reached[0])


def test_settings_that_make_no_sense_are_refused():
    for wrong in ({"underused": 0.0}, {"alpha": -1.0}, {"aux_on": "living"}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            sae_config({"variant": "mutual_choice", "d_in": 4, "d_sae": 8, "k": 2, **wrong})
