"""One SAE for layers that are alike, and a checkpoint of it for each of them."""

from math import pi

import pytest
import torch

from saelab.config import settings
from saelab.errors import ConfigError
from saelab.metrics import fvu
from saelab.sae import SAE
from saelab.train import TrainConfig, group_layers, group_plans, groups_of, train, train_groups
from saelab.train.config import LayerGroupsConfig
from saelab.train.layer_groups import amad, angular_distances, groupings
from saelab.train.pooled import SITE, PooledRows

from .train_rows import TOPK, artefacts, planted

SITES = tuple(f"blocks.{layer}.hook_resid_post" for layer in range(4))


class Layers:
    """Four layers of width 16: the second is the first, moved and stretched; the other two go ways of their own."""

    sites = SITES

    def __init__(self, rows=4000):
        self.train, self.held = self._made(rows, 1), self._made(500, 2)

    def _made(self, rows, seed):
        first, third, fourth = (planted(rows, seed + 10 * part) for part in range(3))
        return dict(zip(SITES, (first, 3 * first + 5, 0.1 * third, fourth), strict=True))

    def d(self, site):
        return 16

    def rows(self):
        return len(self.train[SITES[0]])

    def sample(self, sites, rows):
        return {site: self.train[site][:rows] for site in sites}

    def batches(self, sites, batch, seed, start=0):
        while True:
            chosen = torch.randint(self.rows(), (batch,), generator=torch.Generator().manual_seed(seed + 7 * start))
            yield {site: self.train[site][chosen] for site in sites}
            start += 1

    def heldout(self, sites, rows):
        return {site: self.held[site][:rows] for site in sites}

    def origin(self):
        return {"hash": "layers", "model_name": None, "model_fingerprint": None, "context_size": 8, "harvest": {}}


def config(out, **changes):
    own = {"rows": 4000, "batch": 200, "lr": 1e-2}
    values = {"out": str(out / "sae"), "sae": TOPK, "train": own, "layer_groups": {"count": 3}, **changes}
    return settings(TrainConfig, values, where="test")


def at_angles(*degrees):
    """Two rows for each angle, on both sites of the mean."""
    angles = torch.tensor(degrees) * pi / 180
    return [torch.stack([row, -row]) + 9 for row in torch.stack([angles.cos(), angles.sin()], dim=1)]


def test_distances_are_angles_between_centred_rows_in_half_turns():
    found = angular_distances(at_angles(0, 90, 45))
    expected = torch.tensor([[0, 0.5, 0.25], [0.5, 0, 0.25], [0.25, 0.25, 0]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_neighbours_are_joined_whose_furthest_members_are_nearest():
    distances = angular_distances(at_angles(0, 10, 22, 90))
    assert groupings(distances) == [((0, 1, 2, 3),), ((0, 1, 2), (3,)), ((0, 1), (2,), (3,)), ((0,), (1,), (2,), (3,))]
    assert [round(180 * amad(distances, one), 3) for one in groupings(distances)] == [90, 11, 3.333, 0]


def test_layers_that_are_alike_but_not_neighbours_stay_apart():
    for grouping in groupings(angular_distances(at_angles(0, 90, 0))):
        assert len(grouping) in (1, 3) or grouping in (((0, 1), (2,)), ((0,), (1, 2)))


@pytest.mark.parametrize(
    ("rule", "number"), [({"amad": 0.1}, 2), ({"amad": 0.02}, 3), ({"amad": 1e-9}, 4), ({"count": 3}, 3)]
)
def test_the_fewest_groups_below_the_bound_are_taken_or_as_many_as_asked_for(rule, number):
    rows = dict(zip(SITES, at_angles(0, 10, 22, 90), strict=True))
    found = group_layers(rows, settings(LayerGroupsConfig, rule, "test"))
    assert len(found.groups) == number
    assert [row[-1] for row in found.table()[1]].index("taken") == number - 1


def test_a_layer_that_copies_the_one_before_joins_it_first():
    assert groups_of(config_of_four(), Layers()).groups == [SITES[:2], SITES[2:3], SITES[3:]]


def config_of_four():
    return settings(TrainConfig, {"sae": TOPK, "layer_groups": {"count": 3}}, "test")


def test_pooled_rows_are_those_of_all_sites_in_units_of_their_own():
    source = Layers()
    pooled = PooledRows(source, SITES[:3])
    rows = next(pooled.batches([SITE], 100, seed=0, start=1))[SITE]
    assert rows.shape == (100, 16)
    drawn = next(source.batches(SITES[:3], 34, seed=0, start=1))
    first = pooled.units[SITES[1]]  # each batch begins with another site, so that none has always fewer rows
    torch.testing.assert_close(rows[:34], (drawn[SITES[1]] - first.centre) * first.scale)
    sample = pooled.sample([SITE], 999)[SITE]
    for part in sample.split(333):
        assert part.norm(dim=1).mean().item() == pytest.approx(4, rel=0.05)


def test_each_layer_gets_a_checkpoint_for_its_own_raw_rows(tmp_path):
    source, cfg = Layers(), config(tmp_path, train={"rows": 40_000, "batch": 200, "lr": 1e-2})
    groups = groups_of(cfg, source)
    results = train_groups(cfg, groups, source=source)
    assert [result.name for result in results] == [f"topk-32-k4.layer-{layer}" for layer in range(4)]
    for result, site in zip(results, SITES, strict=True):
        sae, held = SAE.load(result.path), source.held[site]
        assert sae.metadata["hook_name"] == site
        with torch.no_grad():
            assert fvu(held, sae(held)) == pytest.approx(result.fvu, rel=1e-3)
        assert result.fvu < 0.3
    assert SAE.load(results[1].path).metadata["layer_group"] == list(SITES[:2])
    first, second = (SAE.load(result.path).W_dec for result in results[:2])
    assert torch.equal(first, second)


def test_the_same_call_again_trains_nothing_and_leaves_the_same_bytes(tmp_path):
    source, cfg = Layers(), config(tmp_path)
    groups = groups_of(cfg, source)
    train_groups(cfg, groups, source=source)
    before = artefacts(tmp_path)
    again = train_groups(cfg, groups, source=source)
    assert artefacts(tmp_path) == before
    assert {result.seconds for result in again} == {0.0}


def test_what_a_group_costs_is_told_without_training_it(tmp_path):
    groups, planned = group_plans(config(tmp_path), Layers())
    assert [one["SAEs"] for one in planned] == [f"topk-32-k4.layers-{label}" for label in ("0-1", "2", "3")]
    assert len(groups.groups) == 3 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layer_groups": {"count": 5}}, "there are 4 sites"),
        ({"layer_groups": {"count": 2, "amad": 0.1}}, "set one of the two"),
        ({"target": "resid_post.1"}, "layer_groups with target"),
        ({"keep": 2}, "layer_groups with keep"),
        ({"site": "resid_post.1"}, "there is one site"),
        ({"sae": {"variant": "bilinear", "d_sae": 8}}, "bilinear does not"),
    ],
)
def test_what_cannot_be_grouped_is_said(tmp_path, changes, words):
    with pytest.raises(ConfigError, match=words):
        groups_of(config(tmp_path, **changes), Layers())


def test_train_alone_does_not_take_groups_for_a_crosscoder(tmp_path):
    with pytest.raises(ConfigError, match="train_groups"):
        train(config(tmp_path), source=Layers())
