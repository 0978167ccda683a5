"""Beds do what they say, and are a pure function of settings and seed."""

import pytest
import torch

from saelab.errors import ConfigError
from saelab.synthetic import BEDS, SyntheticRows, bed

SMALL = {"easy": {}, "tree": {}, "hard": {"n": 300, "d": 64, "roots": 6}}


@pytest.fixture(params=BEDS)
def some(request):
    return bed({"bed": request.param, **SMALL.get(request.param, {})})


def test_directions_have_length_1(some):
    torch.testing.assert_close(some.features.norm(dim=1), torch.ones(some.n))


def test_rows_are_the_sum_of_what_fires(some):
    sample = some.draw(50, 3)
    rest = sample.x - sample.f @ some.features - some.bias
    assert rest.std() <= 1.1 * some.cfg.noise + 1e-5
    assert (sample.f >= 0).all()


def test_the_same_seed_draws_the_same_rows_and_another_does_not(some):
    assert some.draw(9, 3).x.equal(some.draw(9, 3).x)
    assert not some.draw(9, 3).x.equal(some.draw(9, 4).x)
    again = bed({"bed": next(name for name, kind in BEDS.items() if kind is type(some)), **some.cfg.model_dump()})
    assert again.features.equal(some.features) and again.draw(9, 3).x.equal(some.draw(9, 3).x)


def test_a_child_fires_only_with_its_parent_and_without_its_siblings(some):
    on = some.draw(4000, 1).f > 0
    for child in (some.parent >= 0).nonzero().flatten().tolist():
        assert (on[:, some.parent[child]] | ~on[:, child]).all()
    for parent in some.parent[some.parent >= 0].unique().tolist():
        assert on[:, some.parent == parent].sum(dim=1).max() <= 1


def test_easy_fires_as_often_as_stated():
    on = bed({"bed": "easy"}).draw(20_000, 1).f > 0
    assert on.double().mean().item() == pytest.approx(0.03, rel=0.01)  # 5 M draws: standard error 8e-5


def test_tree_children_come_with_most_of_their_parents():
    tree = bed({"bed": "tree"})
    on = tree.draw(50_000, 1).f > 0
    parents, children = on[:, :8].double().mean().item(), on[:, 8:].double().sum(dim=1).mean().item()
    assert parents == pytest.approx(0.15, rel=0.02) and children == pytest.approx(8 * 0.15 * 0.8, rel=0.02)
    torch.testing.assert_close(tree.features @ tree.features.t(), torch.eye(40), atol=1e-5, rtol=0)


def test_hard_features_are_unequally_frequent_and_correlated():
    hard = bed({"bed": "hard", "n": 300, "d": 64, "roots": 6, "correlation": 0.15})
    on = (hard.draw(40_000, 1).f > 0).double()
    share = on.mean(dim=0)
    assert share[0].item() == pytest.approx(0.4, abs=0.02) and share[200:].mean() < 0.02
    alone = (hard.parent < 0).nonzero().flatten()[:20]
    expected = (hard.loadings @ hard.loadings.t())[alone][:, alone]
    found = torch.corrcoef(on[:, alone].t())
    both = (
        torch.stack([expected[i, j] for i in range(20) for j in range(i)]),
        torch.stack([found[i, j] for i in range(20) for j in range(i)]),
    )
    assert torch.corrcoef(torch.stack([both[0].double(), both[1]]))[0, 1] > 0.7


def test_batches_are_numbered_and_none_is_held_out():
    source = SyntheticRows(bed({"bed": "easy"}))
    site = source.sites[0]
    batches = source.batches([site], 8, seed=5)
    first, second = next(batches)[site], next(batches)[site]
    assert not first.equal(second)
    assert next(source.batches([site], 8, seed=5, start=1))[site].equal(second)
    assert not next(source.batches([site], 8, seed=6))[site].equal(first)
    held = source.heldout([site], 8)[site]
    assert not held.equal(first) and not held.equal(source.sample([site], 8)[site])


def test_a_bed_that_is_not_there_is_one_message():
    with pytest.raises(ConfigError, match="Did you mean 'tree'"):
        bed({"bed": "tre"})
    with pytest.raises(ConfigError, match="do not fit into d = 8"):
        bed({"bed": "tree", "d": 8})
